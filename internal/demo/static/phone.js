// A phone: one device of one user. It keeps the calls that the server tells
// it of, does what its owner presses, and shows the screen that follows.

import { Call } from './call.js';
import { Connection, Refusal } from './connection.js';
import { h, setData, setText } from './dom.js';
import { FrameLog } from './framelog.js';
import { screens } from './screens.js';

const OUTCOME_SHOWN = 4000; // ms
const TICK = 250; // ms between updates of the countdowns
const NOTE_SHOWN = 6000; // ms

export class Phone {
  outcome = null; // what the outcome screen says
  link = { state: 'offline', why: '' }; // the connection
  #calls = new Map(); // call_id → Call, those that are shown or could be
  #last = null; // the call of the outcome
  #connection;
  #log;
  #parts;
  #screens = {};
  #shown = ''; // name of the screen
  #outcomeTimer = 0;
  #noteTimer = 0;
  #busy = false;
  #everOnline = false;
  #handlers;

  // user is {user_id, name}; peer the ID that it calls by default. Handlers:
  // credentials(), onHangUp(callID), onScreen().
  constructor({ user, peer, nameOf, handlers }) {
    this.id = user.user_id;
    this.name = user.name;
    this.peer = peer;
    this.nameOf = nameOf;
    this.#handlers = handlers;
    this.#log = new FrameLog(this.name);
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.#connection = new Connection(`${scheme}://${location.host}/v1/connect`, `ringback.session.${this.id}`, {
      credentials: handlers.credentials,
      knownCalls: () => [...this.#calls.values()].filter((call) => !call.settled).map((call) => call.id),
      onState: (state, why) => this.#connected(state, why),
      onSnapshot: (snapshot) => this.#takeSnapshot(snapshot),
      onEvent: (name, body) => this.#take(name, body),
      onFrame: (way, frame) => this.#log.add(way, frame),
    });
    this.#build();
    setInterval(() => this.#render(), TICK);
  }

  // screen is the state of the phone: a key of screens.
  get screen() {
    return this.#shown;
  }

  get loggedOut() {
    return this.link.why === 'logged out';
  }

  get waitingCalls() {
    return [...this.#calls.values()].some((call) => !call.settled);
  }

  get otherCalls() {
    return this.#calls.size > 1;
  }

  // ---- what the owner does

  connect() {
    this.#connection.connect();
  }

  call({ userIDs, mode, timeout, data }) {
    return this.#act(async () => {
      let reply;
      try {
        reply = await this.#connection.request('call.invite', {
          user_ids: userIDs,
          timeout,
          mode,
          extended_data: data,
          request_id: crypto.randomUUID(),
        });
      } catch (error) {
        if (error.code !== 6000281) throw error;
        this.#conclude({
          reason: 'unreachable',
          title: `${userIDs.map(this.nameOf).join(', ')} cannot be rung`,
          detail: 'Logged out, or never seen by the server (6000281)',
        });
        return;
      }
      const failed = new Set(reply.error_users.map(({ user_id }) => user_id));
      this.#put({
        ...reply,
        mode,
        caller: this.id,
        extended_data: data,
        users: [
          { user_id: this.id, state: 1 },
          ...userIDs.filter((id) => !failed.has(id)).map((id) => ({ user_id: id, state: 0 })),
        ],
      });
      if (failed.size > 0) this.#note(`Not rung: ${[...failed].map(this.nameOf).join(', ')}`);
    });
  }

  cancel() {
    return this.#answer('call.cancel', (call) => call.finish({ reason: 'caller_cancel' }));
  }

  accept() {
    const others = [...this.#calls.values()].filter((call) => call !== this.#foreground);
    return this.#answer('call.accept', (call) => {
      call.merge([{ user_id: this.id, state: 1 }]);
      for (const other of others) this.#leave(other);
    });
  }

  reject() {
    return this.#answer('call.reject', (call) => call.merge([{ user_id: this.id, state: 2 }]));
  }

  quit() {
    return this.#answer('call.quit', (call) => call.finish({ reason: 'quit' }));
  }

  end() {
    return this.#answer('call.end', (call) => call.finish({ reason: 'ended', by: this.id }));
  }

  // hangUp ends what follows a general call. The server has no part in that:
  // the page stands in for the media layer of an app.
  hangUp() {
    const call = this.#foreground;
    this.hungUp(call.id);
    this.#handlers.onHangUp(call.id);
  }

  // hungUp is the media layer saying that the other side hung up.
  hungUp(callID) {
    const call = this.#calls.get(callID);
    if (!call || call.advanced || call.screen !== 'in-call') return;
    call.finish({ reason: 'hung_up' });
    this.#render();
  }

  dismiss() {
    clearTimeout(this.#outcomeTimer);
    this.outcome = null;
    this.#last = null;
    this.#render();
  }

  #answer(op, took) {
    const call = this.#foreground;
    if (!call) return undefined;
    return this.#act(async () => {
      await this.#connection.request(op, { call_id: call.id });
      took(call);
    });
  }

  // leave gives up a call because another one was accepted.
  #leave(call) {
    const op = { calling: 'call.cancel', ringing: 'call.reject', 'in-call': call.advanced ? 'call.quit' : null }[call.screen];
    if (op) this.#connection.request(op, { call_id: call.id }).catch(() => {});
    this.#calls.delete(call.id);
  }

  // act does one thing at a time and shows why it failed. After a refusal the
  // phone asks for the truth: its screen was not it.
  async #act(work) {
    if (this.#busy) return;
    this.#busy = true;
    this.#note('');
    try {
      await work();
    } catch (error) {
      this.#note(error.message);
      if (error instanceof Refusal) await this.#connection.sync().catch(() => {});
    } finally {
      this.#busy = false;
      this.#render();
    }
  }

  // ---- what the server says

  #connected(state, why) {
    this.link = { state, why };
    if (state === 'online') this.#everOnline = true;
    if (state === 'stopped' || state === 'offline') this.#everOnline = false;
    if (this.loggedOut) this.#calls.clear();
    this.#render();
  }

  #takeSnapshot({ calls, ended }) {
    for (const view of calls) this.#put(view);
    for (const end of ended) {
      const call = this.#calls.get(end.call_id);
      if (call) this.#learnEnd(call, end);
    }
    const told = new Set([...calls, ...ended].map(({ call_id }) => call_id));
    for (const call of this.#calls.values()) {
      if (!told.has(call.id) && !call.settled) call.finish({ reason: 'unknown' });
    }
    this.#render();
  }

  // learnEnd takes the end of a call that this phone missed. To a user who is
  // in state accepted a general call may have been answered, rejected or not:
  // the record of the call says which.
  async #learnEnd(call, { state, reason }) {
    if (call.advanced || state !== 1 || reason === 'answered_elsewhere') {
      call.finish({ reason });
      return;
    }
    try {
      const { calls } = await this.#connection.request('call.query', { count: 20 });
      const record = calls.find(({ call_id }) => call_id === call.id);
      if (record) call.merge(record.users);
      if (!call.settled) call.finish({ reason });
    } catch {
      call.finish({ reason });
    }
    this.#render();
  }

  #take(name, body) {
    if (name === 'call.created' || name === 'call.invited') {
      this.#put(body);
    } else {
      const call = this.#calls.get(body.call_id) ?? (this.#last?.id === body.call_id ? this.#last : null);
      if (call) this.#change(call, name, body);
    }
    this.#render();
  }

  #change(call, name, body) {
    switch (name) {
      case 'call.users_changed':
        call.merge(body.users);
        break;
      case 'call.cancelled':
        call.finish({ reason: body.reason, data: body.extended_data });
        break;
      case 'call.timed_out':
        call.finish({ reason: 'timeout' });
        break;
      case 'call.answered_elsewhere':
        if (body.session_id !== this.#connection.sessionID) call.finish({ reason: 'answered_elsewhere', answer: body.answer });
        break;
      case 'call.ended':
        call.finish({ reason: body.reason, by: body.operator, data: body.extended_data });
        break;
    }
  }

  // put takes a call as the server has it, and keeps what only the phone knows.
  #put(view) {
    const call = new Call(view, this.id, this.#connection.serverNow);
    const before = this.#calls.get(call.id);
    if (before) {
      call.acknowledged = before.acknowledged;
      call.connectedAt = before.connectedAt || call.connectedAt;
    }
    this.#calls.set(call.id, call);
    this.#render();
  }

  // acknowledge tells the server that the phone rings.
  #acknowledge(call) {
    call.acknowledged = true;
    this.#connection.request('call.received', { call_id: call.id }).catch(() => {});
  }

  // ---- what is shown

  // foreground is the call on the screen: one that rings, else the one under way.
  get #foreground() {
    const calls = [...this.#calls.values()];
    for (const screen of ['ringing', 'in-call', 'calling']) {
      const call = calls.find((c) => c.screen === screen);
      if (call) return call;
    }
    return null;
  }

  #build() {
    const p = {
      link: h('span', { class: 'link-text' }),
      state: h('span', { class: 'state', 'data-testid': 'state' }),
      body: h('div', { class: 'phone-body', tabindex: '-1' }),
      note: h('p', { class: 'note', role: 'alert' }),
      live: h('p', { class: 'visually-hidden', role: 'status' }),
      online: h('button', {
        type: 'button', class: 'switch', role: 'switch', 'aria-checked': 'false', 'data-testid': 'online',
        onclick: () => (this.#wanted ? this.#connection.drop() : this.#connection.connect()),
      }, h('span', { class: 'knob', 'aria-hidden': 'true' }), 'Online'),
      session: h('button', {
        type: 'button', class: 'text', 'data-testid': 'session',
        onclick: () => (this.link.state === 'stopped' ? this.connect() : this.#logOut()),
      }),
    };
    this.#parts = p;
    for (const [name, make] of Object.entries(screens)) this.#screens[name] = make(this);
    this.element = h('article', { class: 'device', 'data-testid': `phone-${this.id}`, 'data-user': this.id, 'aria-label': `${this.name}’s phone` },
      h('div', { class: 'phone' },
        h('div', { class: 'phone-top' },
          h('span', { class: 'link' }, h('span', { class: 'dot', 'aria-hidden': 'true' }), p.link),
          h('span', { class: 'speaker', 'aria-hidden': 'true' }),
          p.state),
        p.body, p.note, p.live,
        h('div', { class: 'phone-bottom' }, p.online, p.session)),
      this.#log.element);
    this.#render();
  }

  #logOut() {
    this.#calls.clear();
    this.dismiss();
    this.#connection.logout().catch(() => {});
  }

  // wanted reports whether the phone is, or tries to be, online.
  get #wanted() {
    return ['connecting', 'online', 'waiting'].includes(this.link.state);
  }

  #render() {
    if (!this.element) return;
    this.#settle();
    const call = this.#foreground;
    const name = this.#screenFor(call);
    const screen = this.#screens[name];
    screen.update(this, call);
    if (name !== this.#shown) this.#swap(name, screen);
    this.#renderFrame(name, call);
    if (call?.unacknowledged && this.link.state === 'online') this.#acknowledge(call);
  }

  // A short loss of the connection does not take a call off the screen.
  #screenFor(call) {
    const away = !this.#wanted || (!this.#everOnline && this.link.state !== 'online');
    if (away) return 'offline';
    if (call) return call.screen;
    if (this.outcome) return 'outcome';
    return this.link.state === 'online' ? 'idle' : 'offline';
  }

  // settle turns calls that are over into the outcome.
  #settle() {
    for (const call of this.#calls.values()) {
      if (call.screen !== 'outcome') continue;
      this.#calls.delete(call.id);
      this.#conclude(call.outcome(this.nameOf), call);
    }
    // A later event of the same call may say more of how it went.
    if (this.#last && this.outcome) this.outcome = this.#last.outcome(this.nameOf);
  }

  #conclude(outcome, call = null) {
    this.outcome = outcome;
    this.#last = call;
    clearTimeout(this.#outcomeTimer);
    this.#outcomeTimer = setTimeout(() => this.dismiss(), OUTCOME_SHOWN);
  }

  #swap(name, screen) {
    const { body, live } = this.#parts;
    const hadFocus = body.contains(document.activeElement);
    body.replaceChildren(screen.element);
    // The focus stays with the phone, but on no button: a second press of the
    // key that called should not cancel.
    if (hadFocus) body.focus({ preventScroll: true });
    this.#shown = name;
    setText(live, this.#announcement(name));
    this.#handlers.onScreen();
  }

  #announcement(name) {
    const call = this.#foreground;
    const others = call?.others.map(({ id }) => this.nameOf(id)).join(', ');
    return {
      offline: `${this.name} is offline`,
      idle: `${this.name} is ready`,
      calling: `${this.name} is calling ${others}`,
      ringing: `${this.name}: incoming call from ${call && this.nameOf(call.inviter)}`,
      'in-call': `${this.name} is in a call with ${others}`,
      outcome: `${this.name}: ${this.outcome?.title}`,
    }[name];
  }

  #renderFrame(name, call) {
    const { link, state, online, session } = this.#parts;
    const words = { offline: 'offline', connecting: 'connecting', online: 'online', waiting: 'reconnecting', stopped: this.loggedOut ? 'logged out' : 'disconnected' };
    setText(link, `${this.name} · ${words[this.link.state]}`);
    setText(state, name);
    setData(state, { state: name });
    setData(this.element, { state: name, link: this.link.state, reason: this.outcome?.reason, call: call?.id });
    online.setAttribute('aria-checked', String(this.#wanted));
    online.disabled = this.link.state === 'stopped';
    setText(session, this.link.state === 'stopped' ? 'Log in' : 'Log out');
  }

  #note(text) {
    setText(this.#parts.note, text);
    clearTimeout(this.#noteTimer);
    if (text) this.#noteTimer = setTimeout(() => this.#note(''), NOTE_SHOWN);
  }
}
