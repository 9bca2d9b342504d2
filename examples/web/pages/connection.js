// One connection to the broker that comes back by itself, and keeps what could not be sent yet.

/* global StompJs */

/** How often a message is sent that the broker answers with an error. */
const TRIES_MAX = 3;

export function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Connection {
  #client;
  #user;
  #hooks;
  // Sent or to be sent, without a receipt so far; in order.
  #unconfirmed = new Map();

  /**
   * `onUp(connection)` subscribes, each time anew; `onDown()`; `onError(text)` is told what the broker refuses; `onEnd()`
   * when the session is over.
   */
  constructor(user, hooks) {
    this.#user = user;
    this.#hooks = hooks;
    const address = new URL('/ws', location.href);
    address.protocol = location.protocol.replace('http', 'ws');
    this.#client = new StompJs.Client({
      brokerURL: address.href,
      connectionTimeout: 10_000,
      reconnectDelay: 300,
      maxReconnectDelay: 10_000,
      reconnectTimeMode: StompJs.ReconnectionTimeMode.EXPONENTIAL,
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
    });
    this.#client.onConnect = () => this.#up();
    this.#client.onWebSocketClose = () => this.#down();
    this.#client.onStompError = (frame) => this.#refused(frame);
    // The browser knows of some interruptions before a heart-beat is missed.
    addEventListener('offline', () => this.#client.deactivate({ force: true }));
    addEventListener('online', () => this.#client.activate());
    if (navigator.onLine) this.#client.activate();
  }

  get isUp() {
    return this.#client.connected;
  }

  subscribe(destination, take, headers = {}) {
    return this.#client.subscribe(destination, take, headers);
  }

  /** Resolves once the broker has the message. What cannot be sent now is sent later, and possibly twice: see its id. */
  send(destination, body, headers = {}) {
    const id = headers['amqp-message-id'] ?? freshId();
    return new Promise((resolve, reject) => {
      const message = { id, destination, body, headers, resolve, reject, tries: 0 };
      this.#unconfirmed.set(id, message);
      if (this.isUp) this.#transmit(message);
    });
  }

  /** Sends what is worth nothing later, if that is possible now. */
  tell(destination, body, headers = {}) {
    if (!this.isUp) return;
    // The broker compares this with the session's user, so that readers can rely on it.
    this.#client.publish({ destination, body, headers: { ...headers, 'user-id': this.#user } });
  }

  #transmit({ id, destination, body, headers }) {
    this.#client.watchForReceipt(id, () => {
      this.#unconfirmed.get(id)?.resolve();
      this.#unconfirmed.delete(id);
    });
    this.tell(destination, body, { ...headers, 'amqp-message-id': id, receipt: id });
  }

  #up() {
    this.#hooks.onUp(this);
    for (const message of this.#unconfirmed.values()) this.#transmit(message);
  }

  async #down() {
    this.#hooks.onDown();
    const response = await fetch('/me').catch(() => null);
    if (response?.status !== 401) return;
    await this.#client.deactivate({ force: true });
    this.#hooks.onEnd();
  }

  // The connection ends with it. What was on its way is tried again, but not for ever.
  #refused(frame) {
    this.#hooks.onError(frame.body.trim() || frame.headers.message);
    for (const message of this.#unconfirmed.values()) {
      message.tries += 1;
      if (message.tries < TRIES_MAX) continue;
      this.#unconfirmed.delete(message.id);
      message.reject(new Error(frame.headers.message));
    }
  }
}
