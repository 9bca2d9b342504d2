// The broker under test, how long to wait for it, and what arrives from it.

import { within } from '../javascript/suite.js';

export { atEnd, check, freshName, same, sleep, within } from '../javascript/suite.js';

/** The address under test: STOMP_WS_URL, or a broker on this machine with RabbitMQ's defaults. */
export const URL = process.env.STOMP_WS_URL ?? 'ws://127.0.0.1:15674/ws';

/** Milliseconds one check may take, the slowest being thousands of messages on a loaded machine. */
export const CHECK_LIMIT_MS = 30_000;

/** Milliseconds to wait for something that should happen at once. */
export const SOON_MS = 8_000;

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
