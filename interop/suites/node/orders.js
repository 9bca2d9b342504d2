// Consumes orders for a check in Python: `node orders.js COUNT QUEUE...` prints `ready` once it consumes each QUEUE, then a
// line of JSON for each of COUNT messages as [queue, routing key, body, message id, headers].

import amqp from 'amqplib';

const [count, ...queues] = process.argv.slice(2);
const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createChannel();
await channel.prefetch(10);

let left = Number(count);
const done = new Promise((resolve) => {
  function receive(queue, message) {
    if (left === 0) return; // given beyond the share, and given back by closing the channel
    const { fields, properties, content } = message;
    console.log(JSON.stringify([queue, fields.routingKey, `${content}`, properties.messageId, properties.headers]));
    channel.ack(message);
    left -= 1;
    if (left === 0) resolve();
  }
  queues.forEach((queue) => channel.consume(queue, (message) => receive(queue, message)));
});
// A round trip: by now the consumers are there.
await channel.checkQueue(queues[0]);
console.log('ready');
await done;
await channel.close();
await connection.close();
