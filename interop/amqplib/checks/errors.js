// What the broker refuses, with which code, and how much of the connection it takes down.

import { Inbox, channelCloses, connectionCloses, send } from '../broker.js';
import { check } from '../harness.js';

const ignore = () => {};

check('publishing to an unknown exchange closes only the channel', async (broker) => {
  const connection = await broker.connect();
  const [bystander, channel] = [await broker.channel(connection), await broker.channel(connection)];
  const name = broker.exchangeName();
  await channelCloses(channel, 404, ['NOT_FOUND - no exchange', name], () => {
    channel.publish(name, 'key', Buffer.from('lost'));
  });
  await broker.queue(bystander);
  await broker.queue(await broker.channel(connection));
});

check('an unknown queue is not found', async (broker) => {
  const name = broker.queueName();
  const connection = await broker.connect();
  for (const request of [
    (channel) => channel.consume(name, ignore),
    (channel) => channel.get(name),
    (channel) => channel.purgeQueue(name),
    (channel) => channel.checkQueue(name),
    (channel) => channel.bindQueue(name, 'amq.direct', 'key'),
  ]) {
    await channelCloses(await broker.channel(connection), 404, ['NOT_FOUND - no queue', name], request);
  }
});

check('an exclusive queue is locked for other connections', async (broker) => {
  const name = await broker.queue(await broker.channel(), { exclusive: true });
  const stranger = await broker.connect();
  for (const request of [
    (channel) => channel.consume(name, ignore),
    (channel) => channel.get(name),
    (channel) => channel.deleteQueue(name),
    (channel) => channel.assertQueue(name, { exclusive: true }),
    (channel) => channel.checkQueue(name),
  ]) {
    await channelCloses(await broker.channel(stranger), 405, ['RESOURCE_LOCKED', name], request);
  }
});

check('a queue with an exclusive consumer takes no other', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await channel.consume(name, ignore, { exclusive: true });
  await channelCloses(await broker.channel(), 403, ['ACCESS_REFUSED', name, 'in exclusive use'], (other) =>
    other.consume(name, ignore));
});

check('a conflicting declare fails its precondition', async (broker) => {
  const connection = await broker.connect();
  const first = await broker.channel(connection);
  const queue = await broker.queue(first, { messageTtl: 1000 });
  const exchange = await broker.exchange(first, 'direct');
  const wanted = { durable: false, messageTtl: 1000 };
  for (const [argument, request] of [
    ['durable', (channel) => channel.assertQueue(queue, { ...wanted, durable: true })],
    ['auto_delete', (channel) => channel.assertQueue(queue, { ...wanted, autoDelete: true })],
    ['x-message-ttl', (channel) => channel.assertQueue(queue, { durable: false })],
    ['type', (channel) => channel.assertExchange(exchange, 'fanout', { durable: false })],
    ['durable', (channel) => channel.assertExchange(exchange, 'direct')],
  ]) {
    const words = ['PRECONDITION_FAILED - inequivalent arg', `'${argument}'`];
    await channelCloses(await broker.channel(connection), 406, words, request);
  }
});

check('a delivery is settled only once', async (broker) => {
  const connection = await broker.connect();
  for (const again of ['ack', 'nack', 'reject']) {
    const channel = await broker.channel(connection);
    const name = await broker.queue(channel);
    await send(channel, name, 'x');
    const message = await channel.get(name);
    channel.ack(message);
    await channelCloses(channel, 406, ['PRECONDITION_FAILED - unknown delivery tag 1'], () => {
      channel[again](message);
    });
  }
});

check('reserved names are refused', async (broker) => {
  const connection = await broker.connect();
  const queue = await broker.queue(await broker.channel(connection));
  const prefix = "reserved prefix 'amq.*'";
  for (const [words, request] of [
    [['ACCESS_REFUSED - queue name', prefix], (channel) => channel.assertQueue('amq.interop')],
    [['ACCESS_REFUSED - exchange name', prefix], (channel) => channel.assertExchange('amq.interop', 'direct')],
    [['ACCESS_REFUSED'], (channel) => channel.deleteExchange('amq.direct')],
    [['ACCESS_REFUSED', 'default exchange'], (channel) => channel.bindQueue(queue, '', 'key')],
  ]) {
    await channelCloses(await broker.channel(connection), 403, words, request);
  }
});

check('an unknown exchange type closes the connection', async (broker) => {
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  const words = ["COMMAND_INVALID - unknown exchange type 'zorp'"];
  await connectionCloses(connection, 503, words, () => channel.assertExchange(broker.exchangeName(), 'zorp'));
});

check('a consumer tag in use closes the connection', async (broker) => {
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  const name = await broker.queue(channel);
  await Inbox.of(channel, name, { consumerTag: 'twice' });
  const words = ["NOT_ALLOWED - attempt to reuse consumer tag 'twice'"];
  await connectionCloses(connection, 530, words, () => channel.consume(name, ignore, { consumerTag: 'twice' }));
});
