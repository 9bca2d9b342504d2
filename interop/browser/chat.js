// The chat in one process.

import {
  attempt, check, connected, enter, goOffline, goOnline, heard, hears, open, picture, same, say, start,
} from './harness.js';

/** Messages while a page stands still. */
const FLOOD = 400;

async function chat() {
  const { address } = await start('chat', ['--listen', '127.0.0.1:0']);
  return Object.assign((name, options) => enter(address, { name }, options), { address });
}

/** Each says who it is, so that the others can find it. */
async function greet(...pages) {
  for (const page of pages) {
    const name = await page.locator('#me').textContent();
    await say(page, `I am ${name}`);
    for (const other of pages) await hears(other, `I am ${name}`);
  }
}

const person = (page, name) => page.locator('#people').getByRole('button', { name });
const room = (page, name) => page.locator('#rooms').getByRole('button', { name });

check('chat: two pages talk in a room, and see who is typing', async () => {
  const join = await chat();
  const door = await open(join.address);
  await door.locator('#login').waitFor();
  await picture(door, 'login');
  const ann = await join('Ann');
  const bob = await join('Bob');
  await ann.locator('#text').pressSequentially('hel');
  await bob.getByText('Ann is typing…').waitFor();
  await ann.locator('#text').fill('');
  await say(ann, 'hello <img src=x onerror=alert(1)>');
  await hears(bob, 'hello <img src=x onerror=alert(1)>');
  await say(bob, 'hi');
  await hears(ann, 'hi');
  same(await heard(ann), await heard(bob), 'what both heard');
  same(await bob.locator('#timeline li:not(.mine) .meta b').allTextContents(), ['Ann'], 'authors for Bob');
  same(await bob.locator('#timeline img').count(), 0, 'images that somebody typed');
  await room(ann, 'garden').click();
  await say(ann, 'birds');
  await room(bob, 'garden').getByTitle('unread').waitFor();
  await room(bob, 'garden').click();
  await hears(bob, 'birds');
  // Who comes later reads what was said.
  const eve = await join('Eve');
  await hears(eve, 'hi');
  await say(eve, 'Evening, everybody.\nDid I miss anything?');
  await room(bob, 'lobby').click();
  await hears(bob, 'Evening, everybody.\nDid I miss anything?');
  await picture(eve, 'chat-room');
});

check('chat: whoever was away sees once and in order what was said meanwhile', async () => {
  const join = await chat();
  const ann = await join('Ann');
  const bob = await join('Bob');
  await say(ann, 'say 1');
  await hears(bob, 'say 1');
  await goOffline(bob);
  await say(bob, 'from the tunnel');
  for (const number of [2, 3, 4]) await say(ann, `say ${number}`);
  await hears(ann, 'say 4');
  await goOnline(bob);
  await hears(ann, 'from the tunnel');
  await hears(bob, 'from the tunnel');
  await say(ann, 'say 5');
  await hears(bob, 'say 5');
  same(await heard(bob), ['say 1', 'say 2', 'say 3', 'say 4', 'from the tunnel', 'say 5'], 'what Bob heard');
  await bob.reload();
  await connected(bob);
  await hears(bob, 'say 5');
  same(await heard(bob), await heard(ann), 'what Bob sees after a reload');
});

check('chat: a conversation of two is theirs alone, also after a reload', async () => {
  const join = await chat();
  const ann = await join('Ann');
  const bob = await join('Bob');
  const eve = await join('Eve');
  await greet(ann, bob);
  await person(ann, 'Bob').click();
  await say(ann, 'just you');
  await person(bob, 'Ann').getByTitle('unread').waitFor();
  await person(bob, 'Ann').click();
  await hears(bob, 'just you');
  await bob.locator('#text').pressSequentially('m');
  await ann.getByText('Bob is typing…').waitFor();
  await bob.locator('#text').fill('');
  await say(bob, 'and you');
  await hears(ann, 'and you');
  await ann.reload();
  await connected(ann);
  await person(ann, 'Bob').click();
  await hears(ann, 'and you');
  same(await heard(ann), ['just you', 'and you'], 'the conversation');
  for (const frame of [
    ['subscribe', '/exchange/people/to.Bob'],
    ['subscribe', '/exchange/people/#'],
    ['subscribe', '/exchange/signals/to.*'],
    ['publish', '/exchange/rooms/room.lobby', { 'user-id': 'Bob' }],
    ['publish', '/exchange/rooms/room.elsewhere'],
    ['publish', '/exchange/presence/room.lobby'],
    ['publish', '/queue/anything'],
  ]) {
    const refused = await attempt(eve, [frame]);
    same(['access_refused', 'precondition_failed'].includes(refused), true, `${frame.join(' ')}: ${refused}`);
  }
});

check('chat: who is there is seen, and who leaves is gone', async () => {
  const join = await chat();
  const ann = await join('Ann');
  await ann.getByText('1 here').waitFor();
  const bob = await join('Bob');
  await ann.getByText('2 here').waitFor();
  await person(ann, 'Bob').getByTitle('here').waitFor();
  await room(bob, 'garden').click();
  await ann.getByText('1 here').waitFor();
  await room(bob, 'lobby').click();
  await bob.getByText('2 here').waitFor();
  await bob.getByRole('button', { name: 'Leave' }).click();
  await ann.getByText('1 here').waitFor();
});

check('chat: two pages open a channel past the server', async () => {
  const join = await chat();
  const ann = await join('Ann');
  const bob = await join('Bob');
  await greet(ann, bob);
  await person(ann, 'Bob').click();
  await ann.getByRole('button', { name: 'Connect directly' }).click();
  await bob.getByText('Ann wants to talk to you past the server.').waitFor();
  await picture(bob, 'chat-offer');
  await bob.getByRole('button', { name: 'Accept' }).click();
  for (const page of [ann, bob]) await page.locator('#state').getByText('direct', { exact: true }).waitFor();
  await say(ann, 'peer to peer');
  await hears(bob, 'peer to peer');
  await say(bob, 'indeed');
  await hears(ann, 'indeed');
  same(await ann.locator('#timeline .meta').getByText('direct').count(), 2, 'messages marked as direct');
  await bob.getByRole('button', { name: 'Disconnect' }).click();
  await ann.getByRole('button', { name: 'Connect directly' }).waitFor();
  await say(ann, 'by the server again');
  await hears(bob, 'by the server again');
});

check('chat: a page that stands still holds up nobody, and comes to the end in order', async () => {
  const join = await chat();
  const ann = await join('Ann');
  const bob = await join('Bob');
  const slow = await join('Eve');
  // Its scripts stand still until the flood is over, as on a phone that is busy.
  const session = await slow.context().newCDPSession(slow);
  await session.send('Debugger.enable');
  const paused = new Promise((resolve) => session.once('Debugger.paused', resolve));
  await session.send('Debugger.pause');
  slow.evaluate(() => 1).catch(() => {}); // what is paused at
  await paused;
  for (let number = 0; number < FLOOD; number += 1) {
    await ann.evaluate((text) => {
      document.getElementById('text').value = text;
      document.getElementById('composer').requestSubmit();
    }, `flood ${number}`);
  }
  await hears(bob, `flood ${FLOOD - 1}`);
  await session.send('Debugger.resume');
  await session.detach();
  await hears(slow, `flood ${FLOOD - 1}`);
  const numbers = (await heard(slow)).map((text) => Number(text.split(' ')[1]));
  const ordered = [...new Set(numbers)].sort((a, b) => a - b);
  same(numbers, ordered, 'what the slow page shows');
});
