// The list of checks, and small helpers to state what should hold.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect, isDeepStrictEqual } from 'node:util';

/** The address under test: STOMP_WS_URL, or a broker on this machine with RabbitMQ's defaults. */
export const URL = process.env.STOMP_WS_URL ?? 'ws://127.0.0.1:15674/ws';

/** Milliseconds one check may take, the slowest being thousands of messages on a loaded machine. */
export const CHECK_LIMIT_MS = 30_000;

/** Milliseconds to wait for something that should happen at once. */
export const SOON_MS = 8_000;

export { sleep };

const checks = [];
const endings = [];

/** Put a check on the list. `title` says what holds. */
export function check(title, body) {
  checks.push({ title, body });
}

/** The checks in the order in which they were defined. */
export function allChecks() {
  return checks;
}

/** Have `end` called when the check is over, passed or failed. */
export function atEnd(end) {
  endings.push(end);
}

export async function closeAll() {
  for (const end of endings.splice(0)) await within(SOON_MS, end(), 'the end').catch(() => {});
}

/** A name that no other run uses, such as `interop.queue.5f0c1d2e3b4a5968`. */
export function freshName(kind) {
  return `interop.${kind}.${randomBytes(8).toString('hex')}`;
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

/** What arrives, to be waited for in order. */
export class Inbox {
  #waiting = [];
  #arrived = [];

  put(item) {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#arrived.push(item);
  }

  next(what) {
    const item = this.#arrived.shift();
    if (item !== undefined) return Promise.resolve(item);
    return within(SOON_MS, new Promise((resolve) => this.#waiting.push(resolve)), what);
  }
}
