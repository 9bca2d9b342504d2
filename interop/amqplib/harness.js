// The broker under test, how long to wait for it, and what is only for this suite to state.

import { holds, within } from '../javascript/suite.js';

export { check, freshName, holds, same, sleep, within } from '../javascript/suite.js';

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

/** The arguments of the next `event` of `emitter`. */
export function next(emitter, event) {
  const happened = new Promise((resolve) => {
    emitter.once(event, (argument) => resolve(argument));
  });
  return within(SOON_MS, happened, `waiting for '${event}'`);
}
