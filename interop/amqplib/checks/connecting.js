// Logging in, losing the connection and keeping it alive.

import { Inbox, numbers, ready, send } from '../broker.js';
import { BROKER_URL, QUIET_MS, check, freshName, holds, next, rejects, same, sleep } from '../harness.js';
import { Relay } from '../relay.js';

/** The address of the broker with some parts of it replaced. */
function changed(parts) {
  return Object.assign(new URL(BROKER_URL), parts).href;
}

/** Run `body` with a relay in front of the broker. */
async function withRelay(body) {
  const relay = await Relay.start();
  try {
    await body(relay);
  } finally {
    relay.stop();
  }
}

check('a wrong password is refused', async (broker) => {
  await rejects(broker.connect(changed({ password: 'wrong' })), '403', 'ACCESS_REFUSED');
});

check('an unknown virtual host is refused', async (broker) => {
  // amqplib does not look into the close; it tells only that one came in place of open-ok.
  await rejects(broker.connect(changed({ pathname: freshName('vhost') })), 'ConnectionClose');
});

check('a lost connection gives its messages back in order', async (broker) => {
  const name = broker.queueName();
  await withRelay(async (relay) => {
    const connection = await broker.connect(relay.url());
    const channel = await broker.channel(connection);
    await channel.assertQueue(name, { durable: false });
    await send(channel, name, ...numbers(0, 20));
    const inbox = await Inbox.of(channel, name);
    await inbox.waitFor(20);
    channel.ack(inbox.messages[4], true);
    same(await ready(channel, name), 0, 'ready messages'); // the answer also tells that the ack got through
    const lost = next(connection, 'close');
    relay.cut();
    await lost;
  });

  const inbox = await Inbox.of(await broker.channel(), name);
  await inbox.waitFor(15);
  same(inbox.bodies(), numbers(5, 20));
  same(new Set(inbox.redelivered()), new Set([true]), 'redelivered');
});

check('heartbeats keep an idle connection alive', async (broker) => {
  const channel = await broker.channel(await broker.connect(changed({ search: 'heartbeat=1' })));
  const name = await broker.queue(channel);
  await sleep(4_000); // more than the three intervals after which either side would have given up
  same(await ready(channel, name), 0, 'ready messages');
});

check('a silent client is dropped', (broker) => withRelay(async (relay) => {
  const connection = await broker.connect(relay.url('heartbeat=1'));
  const lost = next(connection, 'close');
  relay.mute();
  const began = performance.now();
  await lost;
  const waited = performance.now() - began;
  // After two to three intervals without a byte; sooner would drop peers that are only slow.
  const want = 'want 2000 to 3000 and some room';
  holds(waited > 2_000 - QUIET_MS && waited < 6_000, `dropped after ${waited.toFixed()} ms, ${want}`);
}));
