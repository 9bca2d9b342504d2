// The broker under test as a check sees it.

import amqp from 'amqplib';

import { BROKER_URL, QUIET_MS, SOON_MS, freshName, holds, mentions, next, same, sleep, within } from './harness.js';

/** Connections and names that last for one check. */
export class Broker {
  #connections = [];
  #queues = [];
  #exchanges = [];

  /** A new connection, closed after the check. */
  async connect(url = BROKER_URL) {
    const connection = await amqp.connect(url, { timeout: SOON_MS, noDelay: true });
    connection.on('error', () => {}); // checks that care have listeners of their own
    this.#connections.push(connection);
    return connection;
  }

  /** A channel with confirms, on `connection` or on one of its own. */
  async channel(connection) {
    const channel = await (connection ?? (await this.connect())).createConfirmChannel();
    channel.on('error', () => {});
    return channel;
  }

  /** A fresh queue name; a queue of that name is deleted after the check. */
  queueName() {
    this.#queues.push(freshName('queue'));
    return this.#queues.at(-1);
  }

  /** A fresh exchange name; an exchange of that name is deleted after the check. */
  exchangeName() {
    this.#exchanges.push(freshName('exchange'));
    return this.#exchanges.at(-1);
  }

  /** Declare a fresh queue, transient unless the options say otherwise, and return its name. */
  async queue(channel, options = {}) {
    const name = this.queueName();
    await channel.assertQueue(name, { durable: false, ...options });
    return name;
  }

  /** Declare a fresh exchange, transient unless the options say otherwise, and return its name. */
  async exchange(channel, type, options = {}) {
    const name = this.exchangeName();
    await channel.assertExchange(name, type, { durable: false, ...options });
    return name;
  }

  /** Close what the check opened and delete what it declared. */
  async cleanUp() {
    // Those that the check or the broker has closed already refuse, which is just as well.
    for (const connection of this.#connections) await connection.close().catch(() => {});
    if (this.#queues.length + this.#exchanges.length === 0) return;
    const connection = await amqp.connect(BROKER_URL, { timeout: SOON_MS });
    const channel = await connection.createChannel();
    for (const name of this.#queues) await channel.deleteQueue(name);
    for (const name of this.#exchanges) await channel.deleteExchange(name);
    await connection.close();
  }
}

/** The messages that one consumer was given so far. `cancelled` is set when the broker cancelled it. */
export class Inbox {
  messages = [];
  cancelled = false;
  #wake = () => {};

  /** Start a consumer on `queue`. */
  static async of(channel, queue, options) {
    const inbox = new Inbox();
    const receive = (message) => {
      if (message === null) inbox.cancelled = true;
      else inbox.messages.push(message);
      inbox.#wake();
    };
    inbox.tag = (await channel.consume(queue, receive, options)).consumerTag;
    return inbox;
  }

  /** Wait until `condition` holds; it is looked at after every message. */
  async until(condition, what) {
    while (!condition()) {
      await within(SOON_MS, new Promise((resolve) => { this.#wake = resolve; }), what);
    }
  }

  /** Wait until `count` messages are there in all. */
  waitFor(count) {
    return this.until(() => this.messages.length >= count, `${count} deliveries`);
  }

  /** Fail unless there are `count` messages, and still are a little later. */
  async staysAt(count) {
    await this.waitFor(count);
    await sleep(QUIET_MS);
    same(this.messages.length, count, 'deliveries');
  }

  bodies() {
    return this.messages.map((message) => message.content.toString());
  }

  redelivered() {
    return this.messages.map((message) => message.fields.redelivered);
  }
}

/** The texts of the numbers from `start` up to but excluding `stop`. */
export function numbers(start, stop) {
  return Array.from({ length: stop - start }, (_, index) => String(start + index));
}

/** Publish each of `bodies` to `queue` and wait for the confirms. */
export async function send(channel, queue, ...bodies) {
  for (const body of bodies) channel.sendToQueue(queue, Buffer.from(body));
  await channel.waitForConfirms();
}

/** Get every ready message with automatic acknowledgement; the bodies in order. */
export async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) return bodies;
    bodies.push(message.content.toString());
  }
}

/** How many messages of `queue` are ready for delivery. */
export async function ready(channel, queue) {
  return (await channel.checkQueue(queue)).messageCount;
}

/** Fail unless `action` makes the broker close `channel` with `code` and a text with `words`. */
export async function channelCloses(channel, code, words, action) {
  const [error] = await Promise.all([next(channel, 'error'), action(channel)?.catch?.(() => {})]);
  same(error.code, code, 'reply code');
  mentions(error, ...words);
}

/** Fail unless `action` makes the broker close `connection` with `code` and a text with `words`. */
export async function connectionCloses(connection, code, words, action) {
  const [error] = await Promise.all([next(connection, 'error'), action()?.catch?.(() => {})]);
  holds(error.code === code, `reply code ${code}: ${error}`);
  mentions(error, ...words);
}
