// The handset: how a phone looks. It shows the screen that follows from the
// state of the phone, and the controls around it.

import { h, hue, setData, setText } from './dom.js';
import { FrameLog } from './framelog.js';
import { screens } from './screens.js';

const NOTE_SHOWN = 6000; // ms

export class Handset {
  shown = ''; // name of the screen
  #phone;
  #parts;
  #screens = {};
  #noteTimer = 0;

  constructor(phone) {
    this.#phone = phone;
    this.log = new FrameLog(phone.label);
    const p = {
      link: h('span', { class: 'link-text', dir: 'auto' }),
      state: h('span', { class: 'state', 'data-testid': 'state' }),
      body: h('div', { class: 'phone-body', tabindex: '-1' }),
      note: h('p', { class: 'note', role: 'alert', 'data-testid': 'note' }),
      live: h('p', { class: 'visually-hidden', role: 'status' }),
      online: h('button', {
        type: 'button', class: 'switch', role: 'switch', 'aria-checked': 'false', 'data-testid': 'online',
        onclick: () => (phone.wanted ? phone.goOffline() : phone.connect()),
      }, h('span', { class: 'knob', 'aria-hidden': 'true' }), 'Online'),
      session: h('button', {
        type: 'button', class: 'text', 'data-testid': 'session',
        onclick: () => (phone.link.state === 'stopped' ? phone.connect() : phone.logOut()),
      }),
      network: h('button', {
        type: 'button', class: 'switch', role: 'switch', 'aria-checked': 'true', 'data-testid': 'network',
        title: 'Off loses the connection, and keeps another from coming up', onclick: () => phone.setNetwork(!phone.line.up),
      }, h('span', { class: 'knob', 'aria-hidden': 'true' }), 'Network'),
    };
    this.#parts = p;
    for (const [name, make] of Object.entries(screens)) this.#screens[name] = make(phone);
    this.tools = h('div', { class: 'tools' }, p.network);
    this.element = h('article', {
      class: 'device', 'data-testid': `phone-${phone.key}`, 'data-user': phone.id, 'aria-label': `${phone.label}: phone`,
    },
      h('div', { class: 'phone' },
        h('div', { class: 'phone-top' },
          h('span', { class: 'link' }, h('span', { class: 'dot', 'aria-hidden': 'true' }), p.link),
          h('span', { class: 'speaker', 'aria-hidden': 'true' }),
          p.state),
        p.body, p.note, p.live,
        h('div', { class: 'phone-bottom' }, p.online, p.session)),
      this.tools,
      this.log.element);
    hue(this.element, phone.id);
  }

  // render shows the phone as it is, and reports whether the screen changed.
  render() {
    const call = this.#phone.foreground;
    const name = this.#screenFor(call);
    const screen = this.#screens[name];
    screen.update(this.#phone, call);
    const changed = name !== this.shown;
    if (changed) this.#swap(name, screen);
    this.#renderFrame(name, call);
    return changed;
  }

  // note says something for a while.
  note(text) {
    setText(this.#parts.note, text);
    clearTimeout(this.#noteTimer);
    if (text) this.#noteTimer = setTimeout(() => this.note(''), NOTE_SHOWN);
  }

  // unnote takes back a note that begins like this.
  unnote(beginning) {
    if (this.#parts.note.textContent.startsWith(beginning)) this.note('');
  }

  // A short loss of the connection does not take a call off the screen.
  #screenFor(call) {
    const { wanted, settled, outcome, link } = this.#phone;
    if (!wanted || !settled) return 'offline';
    if (call) return call.screen;
    if (outcome) return 'outcome';
    return link.state === 'online' ? 'idle' : 'offline';
  }

  #swap(name, screen) {
    const { body, live } = this.#parts;
    const hadFocus = body.contains(body.getRootNode().activeElement ?? null);
    body.replaceChildren(screen.element);
    // The focus stays with the phone, but on no button: a second press of the
    // key that called should not cancel.
    if (hadFocus) body.focus({ preventScroll: true });
    this.shown = name;
    setText(live, this.#announcement(name));
  }

  #announcement(name) {
    const { label, foreground: call, outcome, people } = this.#phone;
    const others = call && people.list(call.others.map(({ id }) => id));
    return {
      offline: `${label} is offline`,
      idle: `${label} is ready`,
      calling: `${label} is calling ${others}`,
      ringing: `${label}: incoming call from ${call && people.nameOf(call.inviter)}`,
      'in-call': `${label} is in a call with ${others}`,
      outcome: `${label}: ${outcome?.title}`,
    }[name];
  }

  #renderFrame(name, call) {
    const { link, state, online, session, network } = this.#parts;
    const phone = this.#phone;
    const words = { offline: 'offline', connecting: 'connecting', online: 'online', waiting: 'reconnecting', stopped: phone.loggedOut ? 'logged out' : 'disconnected' };
    setText(link, `${phone.label} · ${words[phone.link.state]}`);
    setText(state, name);
    setData(state, { state: name });
    setData(this.element, { state: name, link: phone.link.state, reason: phone.outcome?.reason, call: call?.id });
    online.setAttribute('aria-checked', String(phone.wanted));
    online.disabled = phone.link.state === 'stopped';
    network.setAttribute('aria-checked', String(phone.line.up));
    setText(session, phone.link.state === 'stopped' ? 'Log in' : 'Log out');
  }
}
