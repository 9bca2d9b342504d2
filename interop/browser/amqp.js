// @cloudamqp/amqp-client in a browser, on the route where others speak STOMP.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { check, enter, hears, same, start } from './harness.js';

const MODULE = fileURLToPath(import.meta.resolve('@cloudamqp/amqp-client')).replace(
  /@cloudamqp\/amqp-client\/.*/,
  '@cloudamqp/amqp-client/dist/amqp-websocket-client.mjs',
);

check('AMQP: a page speaks it as the user of its session, with pages that speak STOMP', async () => {
  const { address } = await start('chat', ['--listen', '127.0.0.1:0']);
  const ann = await enter(address, { name: 'Ann' });
  const bob = await enter(address, { name: 'Bob' });
  const body = await readFile(MODULE, 'utf8');
  // As if the server had it, which the page's policy demands.
  await bob.route('**/amqp-client.mjs', (route) => route.fulfill({ contentType: 'text/javascript', body }));
  const outcome = bob.evaluate(async () => {
    const { AMQPWebSocketClient } = await import(new URL('/amqp-client.mjs', location.href).href);
    const url = new URL('/ws', location.href).href.replace('http', 'ws');
    // The password does not count: the web server has said who it is.
    const connection = await new AMQPWebSocketClient(url, '/', 'Mallory', 'wrong').connect();
    const channel = await connection.channel();
    await channel.confirmSelect();
    const { name } = await channel.queueDeclare('stomp-subscription-bobs-own', { exclusive: true });
    await channel.queueBind(name, 'rooms', 'room.lobby');
    let arrive;
    const next = new Promise((resolve) => {
      arrive = resolve;
    });
    await channel.basicConsume(name, { noAck: true }, arrive);
    await channel.basicPublish('rooms', 'room.lobby', 'by AMQP', { userId: 'Bob', messageId: 'bob-1' });
    const mine = (await next).bodyString();
    const forged = await channel
      .basicPublish('rooms', 'room.lobby', 'forged', { userId: 'Ann' })
      .then(() => null, (error) => error.message);
    await connection.close().catch(() => {});
    return { mine, forged };
  });
  await hears(ann, 'by AMQP');
  const { mine, forged } = await outcome;
  same(mine, 'by AMQP');
  same(/406|PRECONDITION/.test(String(forged)), true, `the error ${forged}`);
});
