// What @stomp/stompjs expects.

import { Client } from '@stomp/stompjs';

import { Inbox, SOON_MS, URL, atEnd, check, freshName, same, sleep, within } from './harness.js';

/** A connected client; errors of the broker go to its `errors`. */
async function connect(options = {}) {
  const client = new Client({
    brokerURL: URL,
    connectHeaders: { login: 'guest', passcode: 'guest' },
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    ...options,
  });
  client.errors = new Inbox();
  client.closed = new Inbox();
  client.onStompError = (frame) => client.errors.put(frame);
  client.onWebSocketClose = (event) => client.closed.put(event.code);
  const connected = new Promise((resolve) => {
    client.onConnect = resolve;
  });
  client.activate();
  atEnd(() => client.deactivate());
  await within(SOON_MS, connected, 'CONNECTED');
  return client;
}

/** Subscribes, and resolves once the broker has. */
async function subscribe(client, destination, headers = {}) {
  const inbox = new Inbox();
  const receipt = freshName('receipt');
  const done = new Promise((resolve) => client.watchForReceipt(receipt, resolve));
  const subscription = client.subscribe(destination, (message) => inbox.put(message), { ...headers, receipt });
  await within(SOON_MS, done, `a subscription to ${destination}`);
  return Object.assign(subscription, { inbox });
}

check('a message goes round, with its headers', async () => {
  const client = await connect();
  const destination = `/topic/${freshName('topic')}`;
  const { inbox } = await subscribe(client, destination);
  client.publish({ destination, body: 'grüße', headers: { note: 'a:b\n', priority: '5' } });
  const message = await inbox.next('the message');
  same(message.body, 'grüße');
  same([message.headers.note, message.headers.priority], ['a:b\n', '5']);
});

check('bodies may be bytes that are no text', async () => {
  const client = await connect();
  const destination = `/topic/${freshName('topic')}`;
  const { inbox } = await subscribe(client, destination);
  const binaryBody = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
  client.publish({ destination, binaryBody });
  const message = await inbox.next('the message');
  same(Buffer.from(message.binaryBody).equals(Buffer.from(binaryBody)), true, 'the bytes are the same');
});

check('large frames may be split', async () => {
  const client = await connect({ splitLargeFrames: true, maxWebSocketChunkSize: 8192 });
  const destination = `/topic/${freshName('topic')}`;
  const { inbox } = await subscribe(client, destination);
  client.publish({ destination, body: 'x'.repeat(1_000_000) });
  same((await inbox.next('the message')).body.length, 1_000_000);
});

check('two thousand messages arrive in order and are acknowledged', async () => {
  const client = await connect();
  const destination = `/queue/${freshName('queue')}`;
  const headers = { ack: 'client', 'auto-delete': 'true', 'prefetch-count': '100' };
  const { inbox } = await subscribe(client, destination, headers);
  for (let at = 0; at < 2000; at += 1) {
    client.publish({ destination, body: String(at), headers: { 'auto-delete': 'true' } });
  }
  for (let at = 0; at < 2000; at += 1) {
    const message = await inbox.next(`message ${at}`);
    same(message.body, String(at));
    if (at % 50 === 49) message.ack();
  }
});

check('what is not acknowledged comes again', async () => {
  const client = await connect();
  const destination = `/queue/${freshName('queue')}`;
  const { inbox } = await subscribe(client, destination, { ack: 'client-individual' });
  client.publish({ destination, body: 'm' });
  (await inbox.next('the message')).nack();
  const again = await inbox.next('the message again');
  same([again.body, again.headers.redelivered], ['m', 'true']);
  again.ack();
});

check('a transaction is sent at its commit', async () => {
  const client = await connect();
  const destination = `/topic/${freshName('topic')}`;
  const { inbox } = await subscribe(client, destination);
  const transaction = client.begin();
  client.publish({ destination, body: 'inside', headers: { transaction: transaction.id } });
  client.publish({ destination, body: 'outside' });
  same((await inbox.next('a message')).body, 'outside');
  transaction.commit();
  same((await inbox.next('a message')).body, 'inside');
});

check('nothing comes after unsubscribing', async () => {
  const client = await connect();
  const destination = `/topic/${freshName('topic')}`;
  const subscription = await subscribe(client, destination);
  subscription.unsubscribe();
  const other = await subscribe(client, destination);
  client.publish({ destination, body: 'm' });
  await other.inbox.next('the message');
  const nothing = await Promise.race([subscription.inbox.next('nothing').catch(() => null), sleep(250, null)]);
  same(nothing, null, 'what came after unsubscribing');
});

check('a wrong passcode is an error', async () => {
  const client = new Client({
    brokerURL: URL,
    connectHeaders: { login: 'guest', passcode: 'wrong' },
    reconnectDelay: 0,
  });
  const refused = new Promise((resolve) => {
    client.onStompError = resolve;
  });
  client.activate();
  atEnd(() => client.deactivate());
  same((await within(SOON_MS, refused, 'ERROR')).headers.message, 'Bad CONNECT');
});

check('what AMQP refuses is an error and the end', async () => {
  const client = await connect();
  client.publish({ destination: `/exchange/${freshName('exchange')}/k`, body: 'm' });
  same((await client.errors.next('ERROR')).headers.message, 'not_found');
  same(await client.closed.next('the close'), 1000);
});

check('an idle client lives on heart-beats', async () => {
  const client = await connect({ heartbeatIncoming: 1000, heartbeatOutgoing: 1000 });
  await sleep(4000);
  same(client.connected, true, 'the client is connected');
});

check('a client that goes says so and is gone', async () => {
  const client = await connect();
  await within(SOON_MS, client.deactivate(), 'the end');
  same(await client.closed.next('the close'), 1000);
});
