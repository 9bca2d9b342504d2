// Reject, nack, requeue and recover.

import { Inbox, drain, numbers, ready, send } from '../broker.js';
import { check, holds, same } from '../harness.js';

/** Get `count` messages and keep them unacknowledged. */
async function hold(channel, queue, count) {
  const held = [];
  while (held.length < count) {
    const message = await channel.get(queue);
    holds(message, `the queue has message ${held.length + 1} of ${count}`);
    held.push(message);
  }
  return held;
}

check('a requeued message keeps its place', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 5));
  const held = await hold(channel, name, 3);
  channel.reject(held[1], true);
  channel.nack(held[0], false, true);
  channel.reject(held[2], true);
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(5);
  same(inbox.bodies(), numbers(0, 5));
  same(inbox.redelivered(), [true, true, true, false, false], 'redelivered');
});

check('nack of several requeues them in order', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 4));
  const held = await hold(channel, name, 3);
  channel.nack(held[1], true, true);
  same(await drain(channel, name), ['0', '1', '3']);
  channel.ack(held[2]);
});

check('a message rejected without requeue is gone', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 4));
  const held = await hold(channel, name, 3);
  channel.reject(held[0], false);
  channel.nackAll(false);
  same(await drain(channel, name), ['3']);
  await channel.close();
  same(await ready(await broker.channel(), name), 0, 'ready messages');
});

check('a rejected message is dead-lettered', async (broker) => {
  const channel = await broker.channel();
  const grave = await broker.queue(channel);
  const name = await broker.queue(channel, { deadLetterExchange: '', deadLetterRoutingKey: grave });
  await send(channel, name, 'unwanted');
  channel.reject(await channel.get(name), false);
  const inbox = await Inbox.of(channel, grave);
  await inbox.waitFor(1);
  const { fields, properties, content } = inbox.messages[0];
  same([fields.redelivered, content.toString()], [false, 'unwanted']);
  const [death] = properties.headers['x-death'];
  same([death.queue, death.reason, death.count], [name, 'rejected', 1]);
});

check('a closed channel gives its messages back in order', async (broker) => {
  const connection = await broker.connect();
  const channel = await broker.channel(connection);
  const name = await broker.queue(channel);
  await send(channel, name, ...numbers(0, 4));
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(4);
  channel.ack(inbox.messages[1]);
  await channel.close();
  same(await drain(await broker.channel(connection), name), ['0', '2', '3']);
});

check('recover redelivers what is unacknowledged', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  await send(channel, name, '0', '1');
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(2);
  await channel.recover();
  await inbox.waitFor(4);
  same(inbox.bodies(), ['0', '1', '0', '1']);
  same(inbox.redelivered(), [false, false, true, true], 'redelivered');
});
