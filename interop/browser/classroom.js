// The classroom: questions to the teacher, announcements to all, and what is missed.

import { attempt, check, connected, enter, goOffline, goOnline, heard, hears, picture, same, say, start } from './harness.js';

async function classroom() {
  const { address, lines } = await start('classroom', ['--listen', '127.0.0.1:0']);
  const code = lines.map((line) => /code: (.*)/.exec(line)?.[1]).find(Boolean);
  return {
    student: (name, options) => enter(address, { name }, options),
    teacher: (options) => enter(address, { code }, options),
  };
}

const card = (page, text) => page.locator('.card').filter({ hasText: text });

check('classroom: a question waits for the teacher, who alone gets it, and outlives a reload', async () => {
  const { student, teacher } = await classroom();
  const ann = await student('Ann');
  await say(ann, 'Why is the sky blue?');
  await ann.getByText('Asked: Why is the sky blue?').waitFor();
  const bob = await student('Bob');
  await say(bob, 'And <b>the sea</b>?');
  await bob.getByText('Asked:').waitFor();

  const desk = await teacher();
  await card(desk, 'Why is the sky blue?').getByText('Ann').waitFor();
  await card(desk, 'And <b>the sea</b>?').getByText('Bob').waitFor();
  await picture(desk, 'classroom-teacher');
  await desk.reload();
  await connected(desk);
  await desk.getByText('Questions (2)').waitFor();
  await card(desk, 'Why is the sky blue?').waitFor();

  await card(desk, 'sky').getByPlaceholder('Answer').fill('Air scatters blue most.');
  await card(desk, 'sky').getByRole('button', { name: 'Answer' }).click();
  await hears(ann, 'Air scatters blue most.');
  await card(desk, 'sea').getByRole('button', { name: 'Done' }).click();
  await desk.getByText('No question waits for you.').waitFor();
  await say(desk, 'That is all.');
  await hears(bob, 'That is all.');
  same(await heard(bob), ['That is all.'], 'what Bob heard');
  await desk.reload();
  await connected(desk);
  await hears(desk, 'That is all.');
  same(await desk.locator('.card').count(), 0, 'questions after all were dealt with');
});

check('classroom: a student who was away hears once and in order what was said meanwhile', async () => {
  const { student, teacher } = await classroom();
  const desk = await teacher();
  const ann = await student('Ann');
  const bob = await student('Bob');
  await say(desk, 'say 1');
  await hears(ann, 'say 1');
  await goOffline(ann);
  // Written while there is no connection, sent when there is one.
  await say(ann, 'Am I back?');
  for (const number of [2, 3, 4, 5]) await say(desk, `say ${number}`);
  await hears(bob, 'say 5');
  await goOnline(ann);
  await card(desk, 'Am I back?').waitFor();
  await say(desk, 'say 6');
  await hears(ann, 'say 6');
  same(await heard(ann), [1, 2, 3, 4, 5, 6].map((number) => `say ${number}`), 'what Ann heard');
  same(await desk.locator('.card').count(), 1, 'questions');
  // Who comes late reads what was said before.
  const eve = await student('Eve');
  await hears(eve, 'say 6');
  same(await heard(eve), await heard(ann), 'what Eve heard');
  await picture(eve, 'classroom-student');
});

check('classroom: a student can neither read the questions nor speak as somebody else', async () => {
  const { student, teacher } = await classroom();
  await teacher();
  const ann = await student('Ann');
  same(await attempt(ann, [['publish', '/exchange/questions/question', { 'user-id': 'Ann' }]]), null, 'a question');
  for (const frame of [
    ['subscribe', '/amq/queue/teacher'],
    ['subscribe', '/queue/teacher'],
    ['subscribe', '/exchange/questions/#'],
    ['subscribe', '/exchange/class.in/#'],
    ['subscribe', '/exchange/class/#'],
    ['subscribe', '/exchange/class/to.Bob'],
    ['publish', '/exchange/class.in/announcement'],
    ['publish', '/exchange/class/all'],
    ['publish', '/queue/teacher'],
    ['publish', '/exchange/questions/question', { 'user-id': 'Bob' }],
  ]) {
    const refused = await attempt(ann, [frame]);
    same(['access_refused', 'precondition_failed'].includes(refused), true, `${frame.join(' ')}: ${refused}`);
  }
});

check('classroom: a name belongs to one browser, and the teacher’s to whoever knows the code', async () => {
  const { student } = await classroom();
  const ann = await student('Ann');
  const refusals = await ann.evaluate(async () => {
    const tries = [{ name: 'ann' }, { name: 'teacher' }, { name: '', code: 'guess' }, { name: 'a.b' }];
    const statuses = [];
    for (const body of tries) {
      const headers = { 'content-type': 'application/json' };
      const response = await fetch('/login', { method: 'POST', headers, body: JSON.stringify(body) });
      statuses.push(response.status);
    }
    return statuses;
  });
  same(refusals, [409, 409, 403, 400], 'answers to logins');
});
