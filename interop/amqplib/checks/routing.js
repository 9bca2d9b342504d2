// Which queues a message reaches, for every type of exchange.

import { drain } from '../broker.js';
import { check, same } from '../harness.js';

/**
 * Publish each [key, headers] of `cases` and compare the titles of the queues it reached with the rest of
 * the case. `queues` maps a title to the name of a queue.
 */
async function routes(channel, exchange, queues, cases) {
  for (const [[key, headers], ...want] of cases) {
    channel.publish(exchange, key, Buffer.from('x'), { headers });
    await channel.waitForConfirms();
    const got = [];
    for (const [title, queue] of Object.entries(queues)) {
      got.push(...(await drain(channel, queue)).map(() => title));
    }
    same(got.sort(), want.sort(), `copies for key '${key}', headers ${JSON.stringify(headers)}`);
  }
}

check('the default exchange routes by queue name', async (broker) => {
  const channel = await broker.channel();
  const queues = { one: await broker.queue(channel), two: await broker.queue(channel) };
  await routes(channel, '', queues, [
    [[queues.one], 'one'],
    [[queues.two], 'two'],
    [[broker.queueName()]],
  ]);
});

check('a direct exchange compares keys', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'direct');
  const queues = {};
  for (const [title, keys] of Object.entries({ red: ['red'], warm: ['red', 'orange'], empty: [''] })) {
    queues[title] = await broker.queue(channel);
    for (const key of keys) await channel.bindQueue(queues[title], exchange, key);
  }
  await routes(channel, exchange, queues, [
    [['red'], 'red', 'warm'],
    [['orange'], 'warm'],
    [[''], 'empty'],
    [['Red']],
  ]);
});

check('a fanout exchange reaches every queue once', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'fanout');
  const queues = { one: await broker.queue(channel), two: await broker.queue(channel) };
  await channel.bindQueue(queues.one, exchange, 'a');
  await channel.bindQueue(queues.one, exchange, 'b');
  await channel.bindQueue(queues.two, exchange, '');
  await routes(channel, exchange, queues, [
    [['a'], 'one', 'two'],
    [['zorp'], 'one', 'two'],
  ]);
});

check('a topic exchange matches words', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'topic');
  const queues = {};
  for (const pattern of ['stock.*.nyse', 'stock.#', '#', '*', '#.nyse', 'a*']) {
    queues[pattern] = await broker.queue(channel);
    await channel.bindQueue(queues[pattern], exchange, pattern);
  }
  await routes(channel, exchange, queues, [
    [['stock.usd.nyse'], 'stock.*.nyse', 'stock.#', '#', '#.nyse'],
    [['stock..nyse'], 'stock.*.nyse', 'stock.#', '#', '#.nyse'],
    [['stock.nyse'], 'stock.#', '#', '#.nyse'],
    [['stock'], 'stock.#', '#', '*'],
    [['stocks.usd'], '#'],
    [['nyse'], '#', '*', '#.nyse'],
    [['a*'], '#', '*', 'a*'],
    [[''], '#'],
  ]);
});

check('a headers exchange compares headers', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'headers');
  const bindings = {
    all: { 'x-match': 'all', format: 'pdf', pages: 3 },
    any: { 'x-match': 'any', format: 'pdf', pages: 3 },
    present: { format: null },
    everything: { 'x-match': 'all' },
    nothing: { 'x-match': 'any' },
  };
  const queues = {};
  for (const [title, args] of Object.entries(bindings)) {
    queues[title] = await broker.queue(channel);
    await channel.bindQueue(queues[title], exchange, '', args);
  }
  const wide = { '!': 'int64', value: 3 }; // equal to the binding's one-byte 3
  await routes(channel, exchange, queues, [
    [['', { format: 'pdf', pages: wide, more: true }], 'all', 'any', 'present', 'everything'],
    [['', { format: 'pdf' }], 'any', 'present', 'everything'],
    [['', { format: 'txt', pages: '3' }], 'present', 'everything'],
    [[''], 'everything'],
  ]);
});

check('a queue gets one copy however many bindings match', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'topic');
  const queue = await broker.queue(channel);
  for (const pattern of ['#', 'a.*', 'a.b']) await channel.bindQueue(queue, exchange, pattern);
  await routes(channel, exchange, { one: queue }, [[['a.b'], 'one']]);
});

check('an unbound queue gets no more', async (broker) => {
  const channel = await broker.channel();
  const exchange = await broker.exchange(channel, 'direct');
  const queue = await broker.queue(channel);
  await channel.bindQueue(queue, exchange, 'a');
  await channel.bindQueue(queue, exchange, 'b');
  await channel.unbindQueue(queue, exchange, 'a');
  await routes(channel, exchange, { one: queue }, [[['a']], [['b'], 'one']]);
  await channel.unbindQueue(queue, exchange, 'never bound');
});

check('exchanges route to exchanges', async (broker) => {
  const channel = await broker.channel();
  const [source, target] = [await broker.exchange(channel, 'topic'), await broker.exchange(channel, 'fanout')];
  const queue = await broker.queue(channel);
  await channel.bindQueue(queue, target, '');
  await channel.bindExchange(target, source, 'go.#');
  await routes(channel, source, { one: queue }, [[['go.on'], 'one'], [['stop']]]);
  await channel.unbindExchange(target, source, 'go.#');
  await routes(channel, source, { one: queue }, [[['go.on']]]);
});

check('an alternate exchange takes what nobody wants', async (broker) => {
  const channel = await broker.channel();
  const alternateExchange = await broker.exchange(channel, 'fanout');
  const exchange = await broker.exchange(channel, 'direct', { alternateExchange });
  const queues = { wanted: await broker.queue(channel), rest: await broker.queue(channel) };
  await channel.bindQueue(queues.wanted, exchange, 'wanted');
  await channel.bindQueue(queues.rest, alternateExchange, '');
  await routes(channel, exchange, queues, [[['wanted'], 'wanted'], [['other'], 'rest']]);
});

check('copies and blind copies add keys, and only the blind ones are hidden', async (broker) => {
  const channel = await broker.channel();
  const [to, copied, hidden] = [await broker.queue(channel), await broker.queue(channel), await broker.queue(channel)];
  channel.publish('', to, Buffer.from('x'), { CC: [copied], BCC: [hidden] });
  await channel.waitForConfirms();
  for (const queue of [to, copied, hidden]) {
    const message = await channel.get(queue, { noAck: true });
    same(message.properties.headers, { CC: [copied] }, 'headers');
    same(message.fields.routingKey, to, 'routing key');
  }
});
