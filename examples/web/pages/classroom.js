// The classroom's page, for students and for the teacher.

import { Connection } from './connection.js';
import { logIn, logOut } from './session.js';
import { Conversation, Timeline, clock, compose, element } from './timeline.js';

const TEACHER = 'Teacher';

const at = (id) => document.getElementById(id);

function enter(me) {
  at('me').textContent = me;
  for (const part of document.querySelectorAll('.top, .app')) part.hidden = false;
  at('leave').addEventListener('click', logOut);
  if (me === TEACHER) new Desk(me);
  else new Seat(me);
}

/** What teacher and students have in common: the lesson. */
class Lesson {
  me;
  connection;
  #said = new Conversation('lesson', 'lesson');
  #timeline;
  /** The number up to which the store has been asked. */
  #after = 0;
  /** What came while the store is being asked, which comes first. */
  #early = null;

  constructor(me, prompt, action) {
    this.me = me;
    this.#timeline = new Timeline(at('timeline'), me);
    this.#timeline.show([]);
    at('prompt').textContent = prompt;
    at('text').placeholder = prompt;
    at('composer').querySelector('button').textContent = action;
    compose(at('composer'), (text) => this.say(text));
    this.connection = new Connection(me, {
      onUp: () => this.#up(),
      onDown: () => this.showLink(),
      onError: (text) => this.hint(`The server refused something: ${text}`),
      onEnd: () => location.reload(),
    });
    this.showLink();
  }

  /** Subscribe first, then ask the store: nothing can fall between, and the numbers tell what came twice. */
  #up() {
    this.#early = [];
    this.subscribe((message) => {
      const { number, to, 'at-ms': atMs } = message.headers;
      const said = { number: Number(number), at_ms: Number(atMs), to, text: message.body };
      if (this.#early) this.#early.push(said);
      else this.#hear(said);
    });
    this.#resync(this.#early);
    this.showLink();
  }

  async #resync(early) {
    const response = await fetch(`/history?after=${this.#after}`).catch(() => null);
    // Lost again meanwhile: the next connection asks again.
    if (this.#early !== early) return;
    if (!response?.ok) {
      this.hint('What was said before could not be loaded. Reload the page to try again.');
    }
    const stored = response?.ok ? await response.json() : [];
    if (this.#early !== early) return;
    this.#early = null;
    for (const said of [...stored, ...early]) this.#hear(said);
  }

  #hear({ number, at_ms: time, to, text }) {
    this.#after = Math.max(this.#after, number);
    const message = { id: String(number), from: TEACHER, text, at: time };
    if (to) message.tag = to === this.me ? 'only to you' : `only to ${to}`;
    if (this.#said.add(message)) this.#timeline.append(message);
  }

  hint(text) {
    at('hint').textContent = text;
  }

  showLink() {
    const { isUp } = this.connection ?? {};
    at('link').textContent = isUp ? 'connected' : 'offline';
    at('link').classList.toggle('up', Boolean(isUp));
  }

  async send(destination, text, headers, done) {
    if (!this.connection.isUp) this.hint('You are offline. It is sent as soon as you are back.');
    try {
      await this.connection.send(destination, text, headers);
      this.hint(done);
    } catch {
      this.hint('That could not be sent.');
    }
  }
}

class Seat extends Lesson {
  constructor(me) {
    super(me, 'Ask the teacher something', 'Ask');
  }

  subscribe(take) {
    this.connection.subscribe('/exchange/class/all', take);
    this.connection.subscribe(`/exchange/class/to.${this.me}`, take);
  }

  say(text) {
    const headers = { persistent: 'true', 'at-ms': String(Date.now()) };
    this.send('/exchange/questions/question', text, headers, `Asked: ${text}`);
  }
}

class Desk extends Lesson {
  #cards = new Map();

  constructor(me) {
    super(me, 'Say something to everybody', 'Announce');
    at('desk').hidden = false;
  }

  subscribe(take) {
    this.connection.subscribe('/exchange/class/#', take);
    // What a lost connection had not acknowledged comes again.
    this.#cards.clear();
    at('questions').replaceChildren();
    this.#count();
    this.connection.subscribe('/amq/queue/teacher', (message) => this.#ask(message), { ack: 'client-individual' });
  }

  say(text) {
    this.send('/exchange/class.in/announcement', text, {}, 'Everybody has been told.');
  }

  #ask(message) {
    const student = message.headers['user-id'];
    const id = message.headers['amqp-message-id'];
    // Sent again by a page that had not heard of success, or by nobody.
    if (!student || this.#cards.has(id)) {
      message.ack();
      return;
    }
    const answer = element('input', { placeholder: 'Answer', maxLength: 4000, ariaLabel: `Answer to ${student}` });
    const form = element(
      'form',
      {},
      answer,
      element('button', { className: 'main', textContent: 'Answer' }),
      element('button', { type: 'button', textContent: 'Done', onclick: () => this.#settle(id) }),
    );
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const text = answer.value.trim();
      if (text === '') return;
      const headers = { 'amqp-message-id': `answer-${id}` };
      await this.send(`/exchange/class.in/answer.${student}`, text, headers, `${student} has the answer.`);
      this.#settle(id);
    });
    const meta = element(
      'p',
      { className: 'meta' },
      element('b', { textContent: student }),
      element('time', { textContent: clock(Number(message.headers['at-ms']) || Date.now()) }),
    );
    const said = element('p', { className: 'said', textContent: message.body });
    const card = element('li', { className: 'card' }, meta, said, form);
    this.#cards.set(id, { card, message });
    at('questions').append(card);
    this.#count();
  }

  #settle(id) {
    const { card, message } = this.#cards.get(id) ?? {};
    if (!card || !this.connection.isUp) return;
    message.ack();
    this.#cards.delete(id);
    card.remove();
    this.#count();
  }

  #count() {
    const count = this.#cards.size;
    at('waiting').textContent = count > 0 ? `Questions (${count})` : 'Questions';
    at('desk').querySelector('.empty').hidden = count > 0;
  }
}

function read(fields) {
  const code = fields.code.value;
  return code === '' ? { name: fields.name.value.trim() } : { name: '', code };
}

logIn(at('login'), read, enter);
