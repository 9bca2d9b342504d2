// The list of checks, the browser, the programs under test, and small helpers to state what should hold.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect, isDeepStrictEqual } from 'node:util';

import { chromium } from 'playwright-core';

/** Where the examples' programs are. */
const PROGRAMS = process.env.PROGRAMS ?? 'target/debug';
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Where screenshots go, if they are wanted. */
const SCREENSHOTS = process.env.SCREENSHOTS;

/** Milliseconds one check may take on a loaded machine. */
export const CHECK_LIMIT_MS = 90_000;
/** Milliseconds to wait for something that should happen at once. */
export const SOON_MS = 20_000;

export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 800 };

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Pages on one machine without a network see each other by address, not by names of multicast DNS.
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--allow-loopback-in-peer-connection',
];

const checks = [];
const endings = [];
const troubles = [];
let browser;

/** Put a check on the list. `title` says what holds. */
export function check(title, body) {
  checks.push({ title, body });
}

/** The checks in the order in which they were defined. */
export function allChecks() {
  return checks;
}

/** Fail unless both values are deeply equal. */
export function same(got, want, what = 'value') {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${what}: got ${inspect(got)}, want ${inspect(want)}`);
}

/** The outcome of `promise`, or a failure when there is none in time. */
export async function within(milliseconds, promise, what) {
  const timer = new AbortController();
  const late = sleep(milliseconds, null, { signal: timer.signal }).then(() => {
    throw new Error(`no end after ${milliseconds} ms: ${what}`);
  });
  late.catch(() => {}); // aborted below
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** Have `end` called when the check is over, passed or failed. */
function atEnd(end) {
  endings.push(end);
}

/** Ends what a check has started, the last first, and fails if a page met something that it should not have. */
export async function closeAll() {
  for (const end of endings.splice(0).reverse()) await end();
  const [trouble] = troubles.splice(0);
  if (trouble) throw new Error(trouble);
}

export async function openBrowser() {
  browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
}

export function closeBrowser() {
  return browser.close();
}

/**
 * Starts a program of the examples. `lines` has what it printed; `address` what stands behind its name there, a URL.
 * Ended with the check, or by `stop`.
 */
export async function start(name, args = [], env = {}) {
  const child = spawn(join(PROGRAMS, name), args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill();
    await ended;
  };
  atEnd(stop);
  const lines = [];
  const ready = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line.startsWith(`${name}: `)) return line.slice(name.length + 2);
    }
    throw new Error(`${name} ended before it was ready`);
  })();
  const address = await within(SOON_MS, ready, `the start of ${name}`);
  return { address, lines, stop };
}

/** A page of a browser of its own: nobody else has its cookies. */
export async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  atEnd(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(SOON_MS);
  page.on('pageerror', (error) => troubles.push(`an error in a page: ${error}`));
  await page.exposeFunction('reportViolation', (text) => troubles.push(`the policy was violated: ${text}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      globalThis.reportViolation(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await page.goto(url);
  return page;
}

/** A page on which somebody has logged in, and is connected. */
export async function enter(url, fields, options) {
  const page = await open(url, options);
  if ('code' in fields) await page.getByText('I am the teacher').click();
  for (const [name, value] of Object.entries(fields)) await page.locator(`#login [name=${name}]`).fill(value);
  await page.getByRole('button', { name: 'Come in' }).click();
  await connected(page);
  return page;
}

export function connected(page) {
  return page.locator('#link.up').waitFor();
}

/** Writes something and sends it. */
export async function say(page, text) {
  await page.locator('#text').fill(text);
  await page.locator('#text').press('Enter');
}

/** Waits until a message with this text is in the page's timeline. */
export function hears(page, text) {
  const pattern = text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+');
  const hasText = new RegExp(`^${pattern}$`);
  return page.locator('#timeline .bubble').filter({ hasText }).first().waitFor();
}

/** The texts of the timeline, in order. */
export function heard(page) {
  return page.locator('#timeline .bubble').allTextContents();
}

/** Takes the page's network away, which it notices. */
export async function goOffline(page) {
  await page.context().setOffline(true);
  await page.locator('#link:not(.up)').waitFor();
}

export async function goOnline(page) {
  await page.context().setOffline(false);
  await connected(page);
}

/** Pictures for whoever looks at the run: both widths, light and dark. */
export async function picture(page, name) {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  for (const [width, viewport] of Object.entries({ phone: PHONE, desktop: DESKTOP })) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`) });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(DESKTOP);
}

/**
 * What the broker says to a client that does `frames` in the page's session: the message of its ERROR, or null if there is
 * a receipt for the last one. Each frame is `['publish' | 'subscribe', parameters...]`.
 */
export function attempt(page, frames) {
  return page.evaluate(
    (list) =>
      new Promise((resolve) => {
        const address = new URL('/ws', location.href);
        address.protocol = 'ws:';
        const client = new globalThis.StompJs.Client({ brokerURL: address.href, reconnectDelay: 0 });
        const end = (outcome) => client.deactivate().then(() => resolve(outcome));
        client.onStompError = (frame) => end(frame.headers.message);
        client.onConnect = () => {
          client.watchForReceipt('last', () => end(null));
          list.forEach(([kind, destination, headers = {}], index) => {
            const all = index === list.length - 1 ? { ...headers, receipt: 'last' } : headers;
            if (kind === 'publish') client.publish({ destination, body: 'm', headers: all });
            else client.subscribe(destination, () => {}, all);
          });
        };
        client.activate();
      }),
    frames,
  );
}
