// A TCP relay that stands between a client and the broker and misbehaves on request.

import net from 'node:net';

import { BROKER_URL } from './harness.js';

/**
 * Forwards every connection made to `port` on loopback to the broker.
 *
 * `cut` resets both sides, so that neither sees a connection.close. `mute` swallows what the client says
 * from then on: the broker sees a peer that is connected but silent, while the client keeps hearing it.
 */
export class Relay {
  #sockets = new Set();
  #server;
  #muted = false;

  static async start() {
    const relay = new Relay();
    relay.#server = net.createServer((client) => relay.#forward(client));
    await new Promise((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  /** The address of the broker by way of this relay. */
  url(query = '') {
    const url = new URL(BROKER_URL);
    url.hostname = '127.0.0.1';
    url.port = this.#server.address().port;
    url.search = query;
    return url.href;
  }

  mute() {
    this.#muted = true;
  }

  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  stop() {
    this.#server.close();
    this.cut();
  }

  #forward(client) {
    const { hostname, port } = new URL(BROKER_URL);
    const host = hostname.replace(/^\[|\]$/g, ''); // an address of IPv6 has brackets in a URL
    const broker = net.connect(Number(port || 5672), host);
    for (const [source, sink] of [[client, broker], [broker, client]]) {
      this.#sockets.add(source);
      source.setNoDelay(true);
      source.on('error', () => {}); // a reset is what the relay is for
      source.on('end', () => sink.end());
      source.on('close', () => this.#sockets.delete(source));
      source.on('data', (data) => {
        if (source === broker || !this.#muted) sink.write(data);
      });
    }
  }
}
