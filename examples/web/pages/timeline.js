// A list of what was said. Nothing that somebody wrote ever becomes HTML.

/** How many messages of a conversation a page keeps. */
const KEPT_MAX = 300;

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

/** A conversation: messages, each once, in the order in which they came. */
export class Conversation {
  #ids = new Set();
  messages = [];
  unread = 0;
  /** After which message to resume. */
  last = 'first';

  constructor(key, title) {
    this.key = key;
    this.title = title;
  }

  /** False if the message is here already. */
  add(message) {
    if (message.id && this.#ids.has(message.id)) return false;
    if (message.id) this.#ids.add(message.id);
    this.messages.push(message);
    if (this.messages.length > KEPT_MAX) this.#ids.delete(this.messages.shift().id);
    return true;
  }
}

/** Shows one conversation at a time in a list. */
export class Timeline {
  #list;
  #user;
  /** Whether the end is to be seen, whatever comes and however the window changes. */
  #isAtEnd = true;

  constructor(list, user) {
    this.#list = list;
    this.#user = user;
    list.addEventListener('scroll', () => {
      this.#isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    });
    new ResizeObserver(() => this.#isAtEnd && this.#toEnd()).observe(list);
  }

  show(messages) {
    this.#list.replaceChildren(...messages.map((message) => this.#item(message)));
    if (messages.length === 0) {
      this.#list.append(element('li', { className: 'empty', textContent: 'Nothing has been said yet.' }));
    }
    this.#toEnd();
  }

  append(message) {
    this.#list.querySelector('.empty')?.remove();
    this.#list.append(this.#item(message));
    while (this.#list.children.length > KEPT_MAX) this.#list.firstChild.remove();
    if (this.#isAtEnd || message.from === this.#user) this.#toEnd();
  }

  #toEnd() {
    this.#list.scrollTo({ top: this.#list.scrollHeight, behavior: 'instant' });
  }

  #item({ id, from, text, at, tag, note }) {
    if (note) return element('li', { className: 'note', textContent: note });
    const item = element(
      'li',
      { className: from === this.#user ? 'mine' : '' },
      element(
        'div',
        { className: 'meta' },
        element('b', { textContent: from === this.#user ? 'You' : from }),
        element('time', { textContent: clock(at), dateTime: new Date(at).toISOString() }),
        ...(tag ? [element('span', { textContent: tag })] : []),
      ),
      element('div', { className: 'bubble', textContent: text }),
    );
    if (id) item.dataset.id = id;
    return item;
  }
}

/** Has Enter send and Shift-Enter begin a new line. `send(text)` is called with what was written. */
export function compose(form, send) {
  const field = form.querySelector('textarea');
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text === '') return;
    field.value = '';
    field.focus();
    send(text);
  });
  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
}
