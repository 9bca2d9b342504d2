// The list of checks, their report, and small helpers to state what should hold.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual, inspect } from 'node:util';

/** The address under test: AMQP_URL, or a broker on this machine with RabbitMQ's defaults. */
export const BROKER_URL = process.env.AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672/%2f';

/** Milliseconds one check may take, the slowest being ten thousand messages on a loaded machine. */
export const CHECK_LIMIT_MS = 30_000;

/**
 * Milliseconds to wait for something that should happen at once. A third of the checks may run into it before
 * the limit of interop/run for a whole suite ends the report.
 */
export const SOON_MS = 8_000;

/**
 * Milliseconds to watch for something that should not happen. A broker that does it does so within
 * one round trip; the rest is room for a busy machine.
 */
export const QUIET_MS = 250;

export { sleep };

const checks = [];

/** Put a check on the list. `title` says what holds; `body` gets a fresh Broker. */
export function check(title, body) {
  checks.push({ title, body });
}

/** The checks of the suite in the order in which they were defined. */
export function allChecks() {
  return checks;
}

/** A name that no other run uses, such as `interop.queue.5f0c1d2e3b4a5968`. */
export function freshName(kind) {
  return `interop.${kind}.${randomBytes(8).toString('hex')}`;
}

/** Fail unless `condition` is true. */
export function holds(condition, what) {
  if (!condition) throw new Error(`does not hold: ${what}`);
}

/** Fail unless both values are deeply equal. */
export function same(got, want, what = 'value') {
  holds(isDeepStrictEqual(got, want), `${what}: got ${inspect(got)}, want ${inspect(want)}`);
}

/** Fail unless the text of `error` contains each of `words`. */
export function mentions(error, ...words) {
  for (const word of words) holds(String(error).includes(word), `the error mentions '${word}': ${error}`);
}

/** Fail unless `promise` is rejected with a text that contains each of `words`. */
export async function rejects(promise, ...words) {
  const error = await promise.then(() => null, (reason) => reason);
  holds(error !== null, 'the promise is rejected');
  mentions(error, ...words);
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

/** The arguments of the next `event` of `emitter`. */
export function next(emitter, event) {
  const happened = new Promise((resolve) => {
    emitter.once(event, (argument) => resolve(argument));
  });
  return within(SOON_MS, happened, `waiting for '${event}'`);
}
