// Publisher confirms and returned messages.

import { drain, ready, send } from '../broker.js';
import { check, next, rejects, same } from '../harness.js';

check('every publish of a burst is confirmed', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel, { durable: true });
  let confirmed = 0;
  for (let number = 0; number < 1000; number += 1) {
    channel.sendToQueue(name, Buffer.from('x'), { persistent: number % 2 === 0 }, (error) => {
      if (error === null) confirmed += 1;
    });
  }
  await channel.waitForConfirms();
  same(confirmed, 1000, 'confirmed');
  same(await ready(channel, name), 1000, 'ready messages');
});

check('an unroutable mandatory message returns before its confirm', async (broker) => {
  const channel = await broker.channel();
  const events = [];
  let returned;
  channel.on('return', (message) => {
    events.push('return');
    returned = message;
  });
  const name = broker.queueName();
  const options = { mandatory: true, messageId: 'm1' };
  channel.sendToQueue(name, Buffer.from('come back'), options, (error) => events.push(error ?? 'ack'));
  await channel.waitForConfirms();
  same(events, ['return', 'ack']);
  const { replyCode, replyText, exchange, routingKey } = returned.fields;
  same([replyCode, replyText, exchange, routingKey], [312, 'NO_ROUTE', '', name]);
  same([returned.properties.messageId, returned.content.toString()], ['m1', 'come back']);
});

check('a routed mandatory message is not returned', async (broker) => {
  const channel = await broker.channel();
  const returned = [];
  channel.on('return', (message) => returned.push(message));
  const name = await broker.queue(channel);
  channel.sendToQueue(name, Buffer.from('stay'), { mandatory: true });
  await channel.waitForConfirms();
  same(returned, []);
  same(await drain(channel, name), ['stay']);
});

check('an unroutable message is confirmed and forgotten', async (broker) => {
  const channel = await broker.channel();
  const returned = [];
  channel.on('return', (message) => returned.push(message));
  await send(channel, broker.queueName(), 'nobody');
  same(returned, []);
});

check('a mandatory message returns without confirms too', async (broker) => {
  const channel = await (await broker.connect()).createChannel();
  const returned = next(channel, 'return');
  channel.sendToQueue(broker.queueName(), Buffer.from('come back'), { mandatory: true });
  same((await returned).content.toString(), 'come back');
});

check('a full queue that rejects publishes says nack', async (broker) => {
  const channel = await broker.channel();
  const name = await broker.queue(channel, { maxLength: 1, overflow: 'reject-publish' });
  await send(channel, name, 'fits');
  await rejects(send(channel, name, 'does not'), 'nacked');
  same(await drain(channel, name), ['fits']);
});
