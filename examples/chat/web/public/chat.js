// The page's half of the chat. A message that is written here stays in the outbox until the room has shown it, and is sent
// again on every new connection; its id makes it the same message. The numbers of a room's messages have no gaps, so a
// page sees what it has missed and asks for it. Together: nothing is lost, nothing shows twice.

const RECONNECT_MS = [250, 500, 1000, 2000, 4000];
/** A message that has not come back after this is sent again. */
const RESEND_MS = 4000;
const TYPING_SHOWN_MS = 3000;
const TYPING_SENT_MS = 1500;

const element = (id) => document.getElementById(id);
const session = crypto.randomUUID?.() ?? String(Math.random()).slice(2);

class Room {
  constructor(room, name) {
    this.room = room;
    this.name = name;
    this.newest = 0;
    this.early = new Map();
    this.caughtUp = false;
    this.outbox = new Map();
    this.people = new Map([[session, name]]);
    this.writing = new Map();
    this.attempt = 0;
    this.lost = false;
    this.connect();
    setInterval(() => this.resend(), RESEND_MS);
  }

  connect() {
    const address = new URL(`/rooms/${this.room}/socket`, location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    address.search = new URLSearchParams({ name: this.name, session });
    this.socket = new WebSocket(address);
    this.socket.onopen = () => {
      this.attempt = 0;
      this.lost = false;
      say('connected');
      // Who else is here, the server tells.
      this.people = new Map([[session, this.name]]);
      this.showPeople();
      this.caughtUp = false;
      this.resend();
    };
    this.socket.onmessage = ({ data }) => this.heard(JSON.parse(data));
    this.socket.onclose = () => {
      this.lost = true;
      this.sayLost();
      const pause = RECONNECT_MS[Math.min(this.attempt++, RECONNECT_MS.length - 1)];
      setTimeout(() => this.connect(), pause * (0.5 + Math.random()));
    };
  }

  send(request) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
  }

  write(text) {
    const id = `${session}-${Date.now().toString(36)}-${this.outbox.size}-${Math.random().toString(36).slice(2, 8)}`;
    this.outbox.set(id, text);
    // What is typed next is news again.
    this.typingSent = undefined;
    this.send({ type: 'say', id, text });
    if (this.lost) this.sayLost();
  }

  /** What is written meanwhile shows once the room has it; until then its writer is told that it is not lost. */
  sayLost() {
    const waiting = this.outbox.size === 0 ? '' : `; ${this.outbox.size} to be sent`;
    say(`connection lost, connecting again${waiting} …`, 'lost');
  }

  resend() {
    if (!this.caughtUp || this.early.size > 0) this.send({ type: 'after', number: this.newest });
    for (const [id, text] of this.outbox) this.send({ type: 'say', id, text });
  }

  heard(event) {
    switch (event.type) {
      case 'message':
        this.arrived(event);
        break;
      case 'caught-up':
        this.historyRead(event.oldest);
        break;
      case 'resumed':
        // Another worker has the socket now; what the last one had not done is asked of this one.
        this.caughtUp = false;
        this.resend();
        break;
      case 'here':
        this.people.set(event.session, event.name);
        this.showPeople();
        break;
      case 'left':
        if (event.session !== session) this.people.delete(event.session);
        this.showPeople();
        break;
      case 'typing':
        this.types(event);
        break;
      case 'failed':
        say(event.reason);
        break;
    }
  }

  arrived(message) {
    this.outbox.delete(message.id);
    if (message.number > this.newest) this.early.set(message.number, message);
    this.showInOrder();
    if (this.caughtUp && this.early.size > 0) this.send({ type: 'after', number: this.newest });
    clearTimeout(this.writing.get(message.author));
    this.writing.delete(message.author);
    this.showTyping();
  }

  /**
   * An answer of the history is whole. It holds all that there was behind the number asked for, or the newest of it from
   * `oldest` on. Whatever has arrived out of order since then is not covered by it, so a gap that is left is asked for again.
   */
  historyRead(oldest) {
    this.caughtUp = true;
    this.newest = Math.max(this.newest, oldest - 1);
    this.showInOrder();
    if (this.early.size > 0) this.send({ type: 'after', number: this.newest });
  }

  /** Messages are shown in the order of their numbers; one that is early waits for those before it. */
  showInOrder() {
    while (this.caughtUp && this.early.has(this.newest + 1)) {
      this.newest++;
      show(this.early.get(this.newest), this.name);
      this.early.delete(this.newest);
    }
  }

  types({ name }) {
    clearTimeout(this.writing.get(name));
    const forget = () => {
      this.writing.delete(name);
      this.showTyping();
    };
    this.writing.set(name, setTimeout(forget, TYPING_SHOWN_MS));
    this.showTyping();
  }

  typed() {
    if (performance.now() - (this.typingSent ?? -TYPING_SENT_MS) < TYPING_SENT_MS) return;
    this.typingSent = performance.now();
    this.send({ type: 'typing' });
  }

  showPeople() {
    const names = [...this.people.values()].sort();
    element('people').replaceChildren(...names.map((name) => item('li', name)));
  }

  showTyping() {
    const names = [...this.writing.keys()];
    element('typing').textContent = names.length === 0 ? '' : `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing …`;
  }
}

function item(tag, text, className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function show(message, me) {
  const line = item('li', '', message.author === me ? 'mine' : '');
  line.dataset.number = message.number;
  line.append(item('span', message.author, 'author'), item('span', message.text, 'text'));
  if (message.tone !== 'friendly') line.append(item('span', message.tone, 'tone'));
  const list = element('messages');
  list.append(line);
  list.scrollTop = list.scrollHeight;
}

function say(text, className = '') {
  element('connection').textContent = text;
  element('connection').className = className;
}

element('door').addEventListener('submit', (event) => {
  event.preventDefault();
  const [name, room] = [element('name').value.trim(), element('room').value];
  if (name === '') return;
  element('door').hidden = true;
  element('inside').hidden = false;
  element('title').textContent = room;
  const entered = new Room(room, name);
  entered.showPeople();
  element('text').focus();
  element('text').addEventListener('input', () => entered.typed());
  element('compose').addEventListener('submit', (sent) => {
    sent.preventDefault();
    const text = element('text').value.trim();
    if (text !== '') entered.write(text);
    element('text').value = '';
  });
});
