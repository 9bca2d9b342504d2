// Consumers, prefetch, basic.get and cancellation.

import { Inbox, drain, numbers, ready, send } from '../broker.js';
import { check, holds, same, SOON_MS, within } from '../harness.js';

const COUNT = 10_000;

check('ten thousand messages keep their order', async (broker) => {
  const connection = await broker.connect();
  const [publisher, consumer] = [await connection.createChannel(), await connection.createChannel()];
  const name = await broker.queue(publisher);
  const bodies = [];
  await consumer.prefetch(250);
  const done = new Promise((resolve, reject) => {
    const receive = (message) => {
      bodies.push(message.content.toString());
      if (bodies.length % 100 === 0) consumer.ack(message, true);
      if (bodies.length === COUNT) resolve();
    };
    consumer.consume(name, receive).catch(reject);
  });
  // The consumer is at work while the messages come in.
  for (const body of numbers(0, COUNT)) publisher.sendToQueue(name, Buffer.from(body));
  await within(2 * SOON_MS, done, `${COUNT} deliveries`);
  holds(bodies.every((body, index) => body === String(index)), 'the order is kept');
  same(await ready(consumer, name), 0, 'ready messages');
});

check('prefetch limits what is unacknowledged', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await channel.prefetch(3);
  await send(channel, name, ...numbers(0, 10));
  const inbox = await Inbox.of(channel, name);
  await inbox.staysAt(3);
  channel.ack(inbox.messages[0]);
  await inbox.staysAt(4);
  channel.ack(inbox.messages[3], true);
  await inbox.staysAt(7);
  same(inbox.bodies(), numbers(0, 7));
});

check('a global prefetch is shared by the consumers of a channel', async (broker) => {
  const channel = await broker.channel();
  const names = [await broker.queue(channel), await broker.queue(channel)];
  await channel.prefetch(4, true);
  const inboxes = [];
  for (const name of names) {
    await send(channel, name, ...numbers(0, 3));
    inboxes.push(await Inbox.of(channel, name));
  }
  await inboxes[0].staysAt(3);
  await inboxes[1].staysAt(1);
  channel.ack(inboxes[0].messages[0]);
  await inboxes[1].staysAt(2);
});

check('acknowledged messages are gone and the others are not', async (broker) => {
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 6));
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(6);
  channel.ack(inbox.messages[4]);
  channel.ack(inbox.messages[2], true);
  // amqplib sends the close of a connection ahead of what its channels have yet to send.
  same(await ready(channel, name), 0, 'ready messages');
  await connection.close();
  same(await drain(await broker.channel(), name), ['3', '5'], 'what nobody acknowledged');
});

check('a consumer without acknowledgement empties the queue', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 50));
  await channel.prefetch(1); // does not apply to it
  const inbox = await Inbox.of(channel, name, { noAck: true });
  await inbox.staysAt(50);
  await channel.close();
  same(await ready(await broker.channel(), name), 0, 'ready messages');
});

check('consumers take turns', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  const [first, second] = [await Inbox.of(channel, name), await Inbox.of(channel, name)];
  await send(channel, name, ...numbers(0, 10));
  await first.waitFor(5);
  await second.waitFor(5);
  same([...first.bodies(), ...second.bodies()].sort(), numbers(0, 10));
});

check('the consumer with the higher priority is served first', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await channel.prefetch(2);
  const low = await Inbox.of(channel, name, { priority: 1 });
  const high = await Inbox.of(channel, name, { priority: 10 });
  await send(channel, name, ...numbers(0, 3));
  await low.waitFor(1);
  same([high.bodies(), low.bodies()], [['0', '1'], ['2']]);
});

check('get tells how many are left', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, '0', '1');
  const { fields } = await channel.get(name);
  same([fields.messageCount, fields.redelivered, fields.routingKey], [1, false, name]);
  channel.ack({ fields });
  const last = await channel.get(name, { noAck: true });
  same([last.fields.messageCount, last.fields.deliveryTag, last.content.toString()], [0, 2, '1']);
  same(await channel.get(name), false, 'get from an empty queue');
});

check('a cancelled consumer gets nothing more and keeps what it has', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, '0');
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(1);
  await channel.cancel(inbox.tag);
  await send(channel, name, '1', '2');
  await inbox.staysAt(1);
  channel.ack(inbox.messages[0]);
  same(await ready(channel, name), 2, 'ready messages');
});

check('deleting the queue cancels its consumers', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  const inbox = await Inbox.of(channel, name);
  await (await broker.channel()).deleteQueue(name);
  await inbox.until(() => inbox.cancelled, 'the cancellation');
  await broker.queue(channel); // the channel is still open
});

check('channels of one connection do not disturb each other', async (broker) => {
  const connection = await broker.connect();
  const [one, two] = [await broker.channel(connection), await broker.channel(connection)];
  const names = [await broker.queue(one), await broker.queue(two)];
  const inboxes = [await Inbox.of(one, names[0]), await Inbox.of(two, names[1])];
  for (let number = 0; number < 100; number += 1) {
    one.sendToQueue(names[1], Buffer.alloc(10_000, '2'));
    two.sendToQueue(names[0], Buffer.alloc(10_000, '1'));
  }
  for (const [index, inbox] of inboxes.entries()) {
    await inbox.waitFor(100);
    same(new Set(inbox.bodies()), new Set([String(index + 1).repeat(10_000)]));
    const tags = inbox.messages.map((message) => message.fields.deliveryTag);
    same(tags, numbers(1, 101).map(Number), 'delivery tags');
  }
  await one.close();
  two.ackAll();
  same(await ready(two, names[0]), 100, 'requeued by the closed channel');
});
