// What the suites in JavaScript share: a list of checks, their report, and small helpers to state what should hold.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect, isDeepStrictEqual } from 'node:util';

export { sleep };

/** Milliseconds for what a check has left behind to end. */
const END_LIMIT_MS = 20_000;

const checks = [];
const endings = [];

/** Put a check on the list. `title` says what holds; `body` gets what the suite makes for each check, if it does. */
export function check(title, body) {
  checks.push({ title, body });
}

/** Have `end` called when the check is over, passed or failed; the last first. */
export function atEnd(end) {
  endings.push(end);
}

/** Fail unless `condition` is true. */
export function holds(condition, what) {
  if (!condition) throw new Error(`does not hold: ${what}`);
}

/** Fail unless both values are deeply equal. */
export function same(got, want, what = 'value') {
  holds(isDeepStrictEqual(got, want), `${what}: got ${inspect(got)}, want ${inspect(want)}`);
}

/** A name that no other run uses, such as `interop.queue.5f0c1d2e3b4a5968`. */
export function freshName(kind) {
  return `interop.${kind}.${randomBytes(8).toString('hex')}`;
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

/** The error that ended a check or what it left behind, the first there was; null if there was none. */
async function outcome({ title, body }, { limitMs, make, afterwards }) {
  const failures = [];
  const attempt = async (milliseconds, act, what) => {
    try {
      await within(milliseconds, act(), what);
    } catch (error) {
      failures.push(error);
    }
  };
  await attempt(limitMs, async () => body(make()), title);
  for (const end of endings.splice(0).reverse()) await attempt(END_LIMIT_MS, async () => end(), 'cleaning up');
  await attempt(END_LIMIT_MS, async () => afterwards(), 'looking back');
  return failures[0] ?? null;
}

/**
 * Runs the checks in the order in which they were defined, reports them, and gives back the exit status. A check may take
 * `limitMs`. `make()` makes what each gets, and `afterwards()` fails for what was noticed meanwhile.
 */
export async function runChecks({ limitMs, make = () => undefined, afterwards = () => {} }) {
  let passed = 0;
  let failed = 0;
  for (const entry of checks) {
    const error = await outcome(entry, { limitMs, make, afterwards });
    if (error === null) {
      passed += 1;
      console.log(`ok    ${entry.title}`);
    } else {
      failed += 1;
      console.log(`FAIL  ${entry.title}: ${error.message ?? error}`);
      console.error(error);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  // A suite without a check has failed.
  return passed > 0 && failed === 0 ? 0 : 1;
}
