// The chat with two web servers around one broker.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { check, connected, enter, heard, hears, open, same, say, start } from './harness.js';

/** Calls `work` with a way to start web servers, given a port. */
async function spread(work) {
  const sessions = await mkdtemp(join(tmpdir(), 'leveret-chat-'));
  try {
    const env = { CHAT_KEY: randomBytes(16).toString('hex') };
    const broker = await start('chat_broker', ['--listen', '127.0.0.1:0'], env);
    const { host } = new URL(broker.address);
    const serve = (port, more = env) =>
      start('chat_server', ['--listen', `127.0.0.1:${port}`, '--broker', host, '--sessions', sessions], more);
    await work(serve);
  } finally {
    await rm(sessions, { recursive: true });
  }
}

check('spread: pages of two web servers talk, and a name belongs to one browser', async () => {
  await spread(async (serve) => {
    const one = await serve(0);
    const other = await serve(0);
    const ann = await enter(one.address, { name: 'Ann' });
    const bob = await enter(other.address, { name: 'Bob' });
    await say(ann, 'from one');
    await hears(bob, 'from one');
    await say(bob, 'from the other');
    await hears(ann, 'from the other');
    same(await bob.locator('#timeline li:not(.mine) .meta b').allTextContents(), ['Ann'], 'authors for Bob');
    const eve = await open(other.address);
    await eve.locator('#login [name=name]').fill('ANN');
    await eve.getByRole('button', { name: 'Come in' }).click();
    await eve.getByText('Somebody else has this name.').waitFor();
  });
});

check('spread: when a web server goes, its pages come back with what they missed', async () => {
  await spread(async (serve) => {
    const one = await serve(0);
    const other = await serve(0);
    const ann = await enter(one.address, { name: 'Ann' });
    const bob = await enter(other.address, { name: 'Bob' });
    await say(ann, 'say 1');
    await hears(bob, 'say 1');
    await one.stop();
    await ann.locator('#link:not(.up)').waitFor();
    await say(bob, 'say 2');
    await say(bob, 'say 3');
    await hears(bob, 'say 3');
    await serve(new URL(one.address).port);
    await connected(ann);
    await hears(ann, 'say 3');
    same(await heard(ann), ['say 1', 'say 2', 'say 3'], 'what Ann heard');
  });
});

check('spread: the broker lets in nobody without the key', async () => {
  await spread(async (serve) => {
    const stranger = await serve(0, { CHAT_KEY: 'guess' });
    const page = await open(stranger.address);
    await page.locator('#login [name=name]').fill('Mallory');
    await page.getByRole('button', { name: 'Come in' }).click();
    await page.getByText('The server refused something: Access refused for user').first().waitFor();
    same(await page.locator('#link.up').count(), 0, 'connected');
  });
});
