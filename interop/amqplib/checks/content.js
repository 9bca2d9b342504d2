// Properties, headers and bodies come back as they were sent.

import { Inbox } from '../broker.js';
import { BROKER_URL, check, holds, same } from '../harness.js';

const PROPERTIES = {
  contentType: 'application/json',
  contentEncoding: 'gzip',
  deliveryMode: 2,
  priority: 9,
  correlationId: 'correlation',
  replyTo: 'reply.here',
  expiration: '60000',
  messageId: 'message-1',
  timestamp: 1_700_000_000,
  type: 'kind',
  userId: decodeURIComponent(new URL(BROKER_URL).username) || 'guest',
  appId: 'interop',
};

/** What is sent, of a type that amqplib is told, and what it makes of it when it comes back. */
const TYPED = {
  int8: [-128, -128],
  uint8: [255, 255],
  int16: [-0x8000, -0x8000],
  uint16: [0xffff, 0xffff],
  int32: [-0x80000000, -0x80000000],
  uint32: [0xffffffff, 0xffffffff],
  int64: [-(2 ** 53), -(2 ** 53)],
  float: [0.5, 0.5],
  float64: [0.1, 0.1],
  timestamp: [1_700_000_000, { '!': 'timestamp', value: 1_700_000_000 }],
  decimal: [{ places: 2, digits: 12345 }, { '!': 'decimal', value: { places: 2, digits: 12345 } }],
};

const HEADERS = {
  yes: true,
  no: false,
  text: 'čeština \u{1f407}',
  'empty text': '',
  bytes: Buffer.from([0, 0xff, 0xce]),
  nothing: null,
  table: { inner: { depth: 3 } },
  array: [1, 'two', null, [true, []], { in: 'array' }, 2.5],
  'empty table': {},
  ['a'.repeat(255)]: 'the longest key there is',
};

/** Publish one message and return it as a consumer gets it. */
async function roundTrip(broker, body, options) {
  const channel = await broker.channel();
  const name = await broker.queue(channel);
  channel.sendToQueue(name, body, options);
  const inbox = await Inbox.of(channel, name);
  await inbox.waitFor(1);
  return inbox.messages[0];
}

check('every property comes back', async (broker) => {
  const { properties } = await roundTrip(broker, Buffer.from('x'), PROPERTIES);
  const got = Object.fromEntries(Object.keys(PROPERTIES).map((name) => [name, properties[name]]));
  same(got, PROPERTIES);
});

check('properties that were not set stay unset', async (broker) => {
  const { properties } = await roundTrip(broker, Buffer.from('x'), {});
  const set = Object.entries(properties).filter(([, value]) => value !== undefined);
  same(set, [['headers', {}]]); // amqplib always sends headers
});

check('headers of every type come back', async (broker) => {
  const sent = { ...HEADERS };
  const want = { ...HEADERS };
  for (const [type, [value, back]] of Object.entries(TYPED)) {
    sent[type] = { '!': type, value };
    want[type] = back;
  }
  const { properties } = await roundTrip(broker, Buffer.from('x'), { headers: sent });
  same(properties.headers, want);
});

check('an empty body comes back empty', async (broker) => {
  const { content, properties } = await roundTrip(broker, Buffer.alloc(0), { messageId: 'empty' });
  same([properties.messageId, content.length], ['empty', 0]);
});

check('a body of many frames comes back whole', async (broker) => {
  // 1 MiB, nine frames of RabbitMQ's 128 KiB.
  const sent = Buffer.from(Uint8Array.from({ length: 1 << 20 }, (_, index) => (index * 31) >> 3));
  const { content } = await roundTrip(broker, sent, {});
  same(content.length, sent.length, 'length');
  holds(content.equals(sent), 'the bytes are the same');
});
