// The chat's page: rooms, conversations of two, who is there, who is typing, and channels past the server.

import { Connection } from './connection.js';
import { Direct } from './direct.js';
import { logIn, logOut } from './session.js';
import { Conversation, Timeline, compose, element } from './timeline.js';

const ROOMS = ['lobby', 'garden', 'workshop'];
/** How long somebody counts as typing after a notice, and how often one is sent. */
const TYPING_MS = 4000;
const NOTICE_EVERY_MS = 2000;
/** With how many people a page keeps conversations. */
const PEOPLE_MAX = 1000;

const at = (id) => document.getElementById(id);

function enter(me) {
  at('me').textContent = me;
  for (const part of document.querySelectorAll('.top, .app')) part.hidden = false;
  at('leave').addEventListener('click', logOut);
  new Chat(me).open('room.lobby');
}

class Chat {
  #me;
  #conversations = new Map();
  #current;
  #timeline;
  #connection;
  #direct;
  #members = new Set();
  /** Who has said something in a room. */
  #authors = new Set();
  #presence = [];
  #typing = new Map();
  #noticeAt = 0;
  #offers = [];

  constructor(me) {
    this.#me = me;
    for (const room of ROOMS) {
      const key = `room.${room}`;
      this.#conversations.set(key, new Conversation(key, room));
    }
    this.#current = this.#conversations.get('room.lobby');
    this.#timeline = new Timeline(at('timeline'), me);
    this.#direct = new Direct((user, kind, body) => this.#signal(user, kind, body), {
      onOffer: (user) => this.#ask(user),
      onState: () => this.#draw(),
      onText: (user, text) => this.#take(this.#with(user), { from: user, text, at: Date.now(), tag: 'direct' }),
    });
    compose(at('composer'), (text) => this.#say(text));
    at('text').addEventListener('input', () => this.#noticeTyping());
    at('call').addEventListener('click', () => this.#toggleCall());
    for (const button of at('offer').querySelectorAll('button')) {
      button.addEventListener('click', () => this.#decide(button.value === 'accept'));
    }
    this.#connection = new Connection(me, {
      onUp: () => this.#up(),
      onDown: () => this.#down(),
      onError: (text) => this.#note(`The server refused something: ${text}`),
      onEnd: () => location.reload(),
    });
    this.#showLink();
  }

  open(key) {
    const isOther = this.#current.key !== key;
    this.#current = this.#conversations.get(key) ?? this.#current;
    this.#current.unread = 0;
    this.#timeline.show(this.#current.messages);
    if (isOther && this.#connection.isUp) this.#enterRoom();
    this.#draw();
  }

  // --- the connection

  #up() {
    for (const conversation of this.#conversations.values()) {
      if (conversation.key.startsWith('room.')) this.#subscribe(`rooms/${conversation.key}`, () => conversation);
    }
    // What others said to me, and copies of what I said to them.
    this.#subscribe(`people/to.${this.#me}`, (from, headers) => this.#with(from === this.#me ? headers.to : from));
    this.#connection.subscribe(`/exchange/signals/to.${this.#me}`, ({ headers, body }) => {
      this.#heard(headers['user-id'], headers.kind, body);
    });
    this.#enterRoom();
    this.#showLink();
  }

  #down() {
    this.#members.clear();
    this.#showLink();
    this.#draw();
  }

  #resume = new Map();

  // Whoever comes asks for all that is kept, whoever comes back for what came meanwhile.
  #subscribe(source, conversationOf) {
    const headers = {
      'resume-from': this.#resume.get(source) ?? 'first',
      // A page that cannot keep up gets the latest, and is told how many it has not got.
      'x-slow-consumer': 'drop-oldest',
    };
    const take = (message) => {
      this.#resume.set(source, message.headers['message-id']);
      const from = message.headers['user-id'];
      if (!from) return;
      const conversation = conversationOf(from, message.headers);
      if (!conversation) return;
      if (this.#authors.size < PEOPLE_MAX) this.#authors.add(from);
      const isGap = 'x-history-gap' in message.headers && conversation.messages.length > 0;
      if (isGap || message.headers['x-dropped']) {
        this.#take(conversation, { note: 'Some messages are missing here.' });
      }
      this.#take(conversation, {
        id: message.headers['amqp-message-id'],
        from,
        text: message.body,
        at: Number(message.headers['at-ms']) || Date.now(),
      });
      this.#stopTyping(from);
    };
    this.#connection.subscribe(`/exchange/${source}`, take, headers);
  }

  // Being there is a subscription; so is seeing who else is.
  #enterRoom() {
    for (const subscription of this.#presence.splice(0)) subscription.unsubscribe();
    this.#members.clear();
    this.#typing.clear();
    const key = this.#current.key;
    if (!key.startsWith('room.')) return;
    const watch = ({ headers }) => {
      if (headers.event === 'present' || headers.event === 'joined') this.#members.add(headers.member);
      else this.#members.delete(headers.member);
      this.#draw();
    };
    const typed = ({ headers }) => this.#showTyping(headers['user-id']);
    this.#presence = [
      this.#connection.subscribe(`/exchange/presence/${key}`, watch, { 'x-presence': 'watch' }),
      this.#connection.subscribe(`/exchange/presence/${key}`, () => {}),
      this.#connection.subscribe(`/exchange/typing/${key}`, typed),
    ];
  }

  // --- messages

  #with(user) {
    if (!user) return null;
    const key = `to.${user}`;
    if (!this.#conversations.has(key)) {
      if (this.#conversations.size > PEOPLE_MAX) return null;
      this.#conversations.set(key, new Conversation(key, user));
    }
    return this.#conversations.get(key);
  }

  #take(conversation, message) {
    if (!conversation?.add(message)) return;
    if (conversation === this.#current) this.#timeline.append(message);
    else if (message.from !== this.#me) conversation.unread += 1;
    this.#draw();
  }

  #note(note) {
    this.#take(this.#current, { note });
  }

  #say(text) {
    const { key, title } = this.#current;
    const headers = { 'at-ms': String(Date.now()) };
    if (key.startsWith('room.')) {
      this.#send(`/exchange/rooms/${key}`, text, headers);
    } else if (this.#direct.send(title, text)) {
      this.#take(this.#current, { from: this.#me, text, at: Date.now(), tag: 'direct' });
    } else {
      this.#send(`/exchange/people/${key}`, text, { ...headers, to: title });
      // For my own pages, this one included.
      if (title !== this.#me) this.#send(`/exchange/people/to.${this.#me}`, text, { ...headers, to: title });
    }
    this.#noticeAt = 0;
  }

  #send(destination, text, headers) {
    const sent = this.#connection.send(destination, text, headers);
    sent.catch(() => this.#note('That could not be sent.'));
    this.#showLink();
    sent.finally(() => this.#showLink());
  }

  // --- typing

  #noticeTyping() {
    const now = Date.now();
    if (now - this.#noticeAt < NOTICE_EVERY_MS) return;
    this.#noticeAt = now;
    const { key, title } = this.#current;
    if (key.startsWith('room.')) this.#connection.tell(`/exchange/typing/${key}`, '');
    else this.#signal(title, 'typing', '');
  }

  #showTyping(user) {
    if (!user || user === this.#me) return;
    clearTimeout(this.#typing.get(user));
    this.#typing.set(user, setTimeout(() => this.#stopTyping(user), TYPING_MS));
    this.#draw();
  }

  #stopTyping(user) {
    clearTimeout(this.#typing.get(user));
    if (this.#typing.delete(user)) this.#draw();
  }

  // --- channels past the server

  #signal(user, kind, body) {
    this.#connection.tell(`/exchange/signals/to.${user}`, body, { kind });
  }

  #heard(user, kind, body) {
    if (!user) return;
    if (kind !== 'typing') {
      this.#direct.take(user, kind, body).catch(() => this.#note(`${user} sent something that makes no sense.`));
    } else if (this.#current.key === `to.${user}`) {
      this.#showTyping(user);
    }
  }

  #ask(user) {
    this.#offers = this.#offers.filter((other) => other !== user);
    this.#offers.push(user);
    this.#with(user);
    this.#draw();
  }

  #decide(isWelcome) {
    const user = this.#offers.shift();
    if (isWelcome) {
      this.open(this.#with(user).key);
      this.#direct.accept(user).catch(() => this.#direct.hangUp(user));
    } else {
      this.#direct.hangUp(user);
    }
    this.#draw();
  }

  #toggleCall() {
    const user = this.#current.title;
    if (this.#direct.state(user) === 'closed') this.#direct.call(user);
    else this.#direct.hangUp(user);
  }

  // --- what is seen

  #showLink() {
    const { isUp } = this.#connection ?? {};
    at('link').textContent = isUp ? 'connected' : 'offline';
    at('link').classList.toggle('up', Boolean(isUp));
  }

  #draw() {
    const { key, title } = this.#current;
    const isRoom = key.startsWith('room.');
    at('title').textContent = isRoom ? `# ${title}` : title;
    const count = this.#members.size;
    const state = isRoom ? '' : this.#direct.state(title);
    at('state').textContent = isRoom ? (count > 0 ? `${count} here` : '') : { open: 'direct', connecting: 'connecting…' }[state] ?? '';
    at('call').hidden = isRoom || title === this.#me;
    at('call').textContent = state === 'closed' ? 'Connect directly' : 'Disconnect';
    const typing = [...this.#typing.keys()];
    at('hint').textContent = typing.length > 3 ? 'Several people are typing…'
      : typing.length > 0 ? `${typing.join(', ')} ${typing.length > 1 ? 'are' : 'is'} typing…` : '';
    at('offer').hidden = this.#offers.length === 0;
    const asks = `${this.#offers[0]} wants to talk to you past the server.`;
    const alert = at('offer').querySelector('p');
    if (this.#offers.length > 0 && alert.textContent !== asks) alert.textContent = asks;
    this.#drawLists();
  }

  #drawLists() {
    const rooms = ROOMS.map((room) => this.#conversations.get(`room.${room}`));
    at('rooms').replaceChildren(...rooms.map((room) => this.#pick(room, `# ${room.title}`, null)));
    const people = new Set([...this.#members, ...this.#authors]);
    for (const { key, title } of this.#conversations.values()) if (key.startsWith('to.')) people.add(title);
    people.delete(this.#me);
    const sorted = [...people].sort((a, b) => a.localeCompare(b));
    at('people').replaceChildren(...sorted.map((user) => {
      const conversation = this.#conversations.get(`to.${user}`) ?? { key: `to.${user}`, unread: 0 };
      return this.#pick(conversation, user, this.#members.has(user));
    }));
  }

  #pick({ key, unread }, label, isThere) {
    const button = element('button', { className: 'pick', type: 'button' });
    if (isThere !== null) {
      button.append(element('span', { className: isThere ? 'dot there' : 'dot', title: isThere ? 'here' : '' }));
    }
    button.append(element('span', { className: 'grow', textContent: label }));
    if (unread > 0) button.append(element('span', { className: 'count', textContent: unread, title: 'unread' }));
    button.setAttribute('aria-current', String(key === this.#current.key));
    button.addEventListener('click', () => {
      if (key.startsWith('to.')) this.#with(key.slice(3));
      this.open(key);
      at('text').focus();
    });
    return element('li', {}, button);
  }
}

logIn(at('login'), (fields) => ({ name: fields.name.value.trim() }), enter);
