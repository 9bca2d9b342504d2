// Declaring, purging and deleting queues and exchanges.

import { Inbox, channelCloses, drain, ready, send } from '../broker.js';
import { check, holds, same } from '../harness.js';

check('a named queue is declared and empty', async (broker) => {
  const channel = await broker.channel();
  const queue = broker.queueName();
  same({ ...(await channel.assertQueue(queue)) }, { queue, messageCount: 0, consumerCount: 0 });
  await Inbox.of(channel, queue);
  same((await channel.checkQueue(queue)).consumerCount, 1, 'consumers');
});

check('a server names queues apart', async (broker) => {
  const channel = await broker.channel();
  const { queue: first } = await channel.assertQueue('', { exclusive: true });
  const { queue: second } = await channel.assertQueue('', { exclusive: true });
  holds(first.startsWith('amq.gen-'), `${first} starts with amq.gen-`);
  holds(first !== second, 'two queues have two names');
});

check('an exclusive queue goes with its connection', async (broker) => {
  const owner = await broker.connect();
  const name = await broker.queue(await broker.channel(owner), { exclusive: true });
  await owner.close();
  await channelCloses(await broker.channel(), 404, ['no queue', name], (channel) => channel.checkQueue(name));
});

check('an auto-delete queue goes with its last consumer', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel, { autoDelete: true });
  const [first, second] = [await Inbox.of(channel, name), await Inbox.of(channel, name)];
  await channel.cancel(first.tag);
  same((await channel.checkQueue(name)).consumerCount, 1, 'consumers');
  await channel.cancel(second.tag);
  await channelCloses(channel, 404, [name], () => channel.checkQueue(name));
});

check('queue arguments take effect', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel, { maxLength: 2, messageTtl: 60_000, overflow: 'drop-head' });
  await send(channel, name, '1', '2', '3');
  same(await drain(channel, name), ['2', '3'], 'what a queue of two keeps');
});

check('declaring the same again changes nothing', async (broker) => {
  const channel = await broker.channel();
  const options = { durable: true, arguments: { 'x-max-length': 10 } };
  const name = await broker.queue(channel, options);
  await send(channel, name, 'kept');
  same((await channel.assertQueue(name, options)).messageCount, 1, 'ready messages');
  const exchange = await broker.exchange(channel, 'topic', { durable: true });
  await channel.assertExchange(exchange, 'topic', { durable: true });
});

check('exchanges of every type are declared and deleted', async (broker) => {
  const channel = await broker.channel();
  for (const type of ['direct', 'fanout', 'topic', 'headers']) {
    const name = await broker.exchange(channel, type, { durable: type !== 'fanout' });
    await channel.checkExchange(name);
    await channel.deleteExchange(name);
    await channelCloses(await broker.channel(), 404, ['no exchange', name], (other) => other.checkExchange(name));
  }
});

check('an auto-delete exchange goes with its last binding', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'fanout', { autoDelete: true });
  const queue = await broker.queue(channel);
  await channel.checkExchange(exchange);
  await channel.bindQueue(queue, exchange, '');
  await channel.unbindQueue(queue, exchange, '');
  await channelCloses(channel, 404, [exchange], () => channel.checkExchange(exchange));
});

check('the standard exchanges are there', async (broker) => {
  const channel = await broker.channel();
  for (const name of ['amq.direct', 'amq.fanout', 'amq.topic', 'amq.headers', 'amq.match']) {
    await channel.checkExchange(name);
  }
});

check('deleting what is not there is fine', async (broker) => {
  const channel = await broker.channel();
  same((await channel.deleteQueue(broker.queueName())).messageCount, 0, 'messages deleted');
  await channel.deleteExchange(broker.exchangeName());
});

check('purge removes ready messages and counts them', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, '1', '2', '3');
  const held = await channel.get(name);
  same((await channel.purgeQueue(name)).messageCount, 2, 'messages purged');
  channel.reject(held, true);
  same(await drain(channel, name), ['1'], 'what was not ready stays');
});

check('delete counts the messages that go', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, '1', '2');
  same((await channel.deleteQueue(name)).messageCount, 2, 'messages deleted');
});

check('delete if-empty spares a queue with messages', async (broker) => {
  let channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, 'precious');
  await channelCloses(channel, 406, [name, 'not empty'], () => channel.deleteQueue(name, { ifEmpty: true }));
  channel = await broker.channel();
  same(await ready(channel, name), 1, 'ready messages');
  await channel.purgeQueue(name);
  await channel.deleteQueue(name, { ifEmpty: true });
});

check('delete if-unused spares a queue with consumers', async (broker) => {
  const [channel, other] = [await broker.channel(), await broker.channel()];
  const name = await broker.queue(channel);
  const inbox = await Inbox.of(channel, name);
  await channelCloses(other, 406, [name, 'in use'], () => other.deleteQueue(name, { ifUnused: true }));
  await channel.cancel(inbox.tag);
  await channel.deleteQueue(name, { ifUnused: true });
});

check('delete if-unused spares an exchange with bindings', async (broker) => {
  let channel = await broker.channel();
  const [queue, exchange] = [await broker.queue(channel), await broker.exchange(channel, 'direct')];
  await channel.bindQueue(queue, exchange, 'key');
  await channelCloses(channel, 406, [exchange, 'in use'], () =>
    channel.deleteExchange(exchange, { ifUnused: true }));
  channel = await broker.channel();
  await channel.unbindQueue(queue, exchange, 'key');
  await channel.deleteExchange(exchange, { ifUnused: true });
});
