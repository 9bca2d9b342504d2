// What @cloudamqp/amqp-client expects of AMQP over WebSocket.

import { AMQPWebSocketClient } from '@cloudamqp/amqp-client';

import { Inbox, URL, atEnd, check, freshName, same } from './harness.js';

async function connect() {
  const client = new AMQPWebSocketClient(URL, '/', 'guest', 'guest');
  const connection = await client.connect();
  // Some are closed by the broker.
  atEnd(() => connection.close().catch(() => {}));
  return connection;
}

check('AMQP: messages are published with confirms and consumed in order', async () => {
  const channel = await (await connect()).channel();
  await channel.confirmSelect();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  const inbox = new Inbox();
  await channel.basicConsume(name, { noAck: false }, (message) => inbox.put(message));
  for (let at = 0; at < 500; at += 1) await channel.basicPublish('', name, String(at));
  for (let at = 0; at < 500; at += 1) {
    const message = await inbox.next(`message ${at}`);
    same(message.bodyString(), String(at));
    await message.ack();
  }
});

check('AMQP: a body of many frames arrives whole', async () => {
  const channel = await (await connect()).channel();
  await channel.confirmSelect();
  const { name } = await channel.queueDeclare('', { exclusive: true });
  const body = Uint8Array.from({ length: 300_000 }, (_, index) => index % 251);
  await channel.basicPublish('', name, body);
  const message = await channel.basicGet(name);
  same(Buffer.from(message.body).equals(Buffer.from(body)), true, 'the bytes are the same');
});

check('AMQP: a missing queue closes the channel with 404', async () => {
  const channel = await (await connect()).channel();
  const error = await channel.basicGet(freshName('queue')).then(
    () => null,
    (reason) => reason,
  );
  same(String(error).includes('404'), true, `the error ${error}`);
});
