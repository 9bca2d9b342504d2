// One end of remote procedure calls over amq.rabbitmq.reply-to, for checks in Python.
//
//   node rpc.js call QUEUE COUNT   calls COUNT times at once with the numbers from 0 and prints the answers as JSON,
//                                  in the order of the calls; null for what was not answered in time
//   node rpc.js serve QUEUE        answers numbers with their squares until its input ends; prints `ready` first

import amqp from 'amqplib';

/** Milliseconds a caller waits for each answer. */
const CALL_LIMIT_MS = 2_000;

async function call(channel, queue, count) {
  const waiting = new Map();
  // Direct replies are only for consumers without acknowledgements, on the channel that calls.
  await channel.consume('amq.rabbitmq.reply-to', (message) => {
    waiting.get(message.properties.correlationId)?.(Number(message.content));
  }, { noAck: true });
  const calls = Array.from({ length: count }, (_, number) => new Promise((resolve) => {
    const correlationId = `call-${number}`;
    waiting.set(correlationId, resolve);
    setTimeout(() => resolve(null), CALL_LIMIT_MS).unref();
    channel.publish('', queue, Buffer.from(`${number}`), { correlationId, replyTo: 'amq.rabbitmq.reply-to' });
  }));
  console.log(JSON.stringify(await Promise.all(calls)));
}

async function serve(channel, queue) {
  await channel.consume(queue, (message) => {
    const { replyTo, correlationId } = message.properties;
    channel.publish('', replyTo, Buffer.from(`${Number(message.content) ** 2}`), { correlationId });
    channel.ack(message);
  });
  console.log('ready');
  for await (const _ of process.stdin);
}

const [role, queue, count] = process.argv.slice(2);
const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createChannel();
await (role === 'call' ? call(channel, queue, Number(count)) : serve(channel, queue));
await connection.close();
