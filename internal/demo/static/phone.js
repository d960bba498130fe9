// A phone: one device of one user, on the web SDK. It keeps the calls that the
// server tells it of, and does what its owner presses. Handset shows it.

import { Call } from './call.js';
import { Handset } from './handset.js';
import { Line } from './line.js';
import { History } from './history.js';
import { CloseCode, RingbackClient, RingbackError } from './ringback.js';

const OUTCOME_SHOWN = 4000; // ms
const TICK = 250; // ms between updates of the countdowns
const OWN_KEPT = 20; // calls
const NOT_REGISTERED = 6000281;

// Reasons of a disconnection after which it is the owner's turn.
const FINAL = {
  [CloseCode.Logout]: 'logged out',
  [CloseCode.Kicked]: 'signed in somewhere else',
  [CloseCode.Protocol]: 'the server met a protocol error',
  [CloseCode.TooBig]: 'a frame was too large',
  [CloseCode.Unauthenticated]: 'the login was refused',
  [CloseCode.TokenExpired]: 'the token has expired',
};

export class Phone {
  outcome = null; // what the outcome screen says
  // The connection: 'offline', 'connecting', 'online', 'waiting' for another
  // attempt, or 'stopped' by a logout or a refusal.
  link = { state: 'offline', why: '' };
  #calls = new Map(); // call_id → Call, those that are shown or could be
  #last = null; // the call of the outcome
  #own; // IDs of calls that this device made, answered or joined
  #client;
  #handset;
  #clock = 0; // server time minus own, in ms
  #outcomeTimer = 0;
  #tick;
  #busy = false;
  #everOnline = false;
  #handlers;
  #space;
  #media = new BroadcastChannel('ringback.demo.media');

  // user is {user_id, name}; device counts the devices of that user, from 1;
  // peer is the ID that it calls by default; people gives names; space names
  // what it keeps in the storage of the tab. Handlers: token(), onScreen().
  constructor({ appID, space, user, device = 1, peer, people, handlers }) {
    this.#space = space;
    this.user = user;
    this.id = user.user_id;
    this.device = device;
    this.key = device === 1 ? this.id : `${this.id}-${device}`;
    this.name = people.nameOf(this.id);
    this.label = device === 1 ? this.name : `${this.name}, device ${device}`;
    this.peer = peer;
    this.people = people;
    this.nameOf = (id) => people.nameOf(id);
    this.#handlers = handlers;
    this.line = new Line((way, frame) => this.#handset.log.add(way, frame));
    this.#own = new Set(JSON.parse(sessionStorage.getItem(this.#item('own')) ?? '[]'));
    this.#client = new RingbackClient({
      server: location.origin,
      appID,
      userID: this.id,
      userName: user.name,
      token: handlers.token,
      sessionID: sessionStorage.getItem(this.#item('session')) ?? undefined,
      webSocket: this.line.socketClass,
    });
    this.history = new History(this.id, this.#item('seen'), this.#client);
    this.#listen();
    this.#media.onmessage = ({ data }) => this.#hungUp(data);
    this.#handset = new Handset(this);
    this.element = this.#handset.element;
    this.tools = this.#handset.tools; // where the page may put controls
    this.#tick = setInterval(() => this.#render(), TICK);
    this.#render();
  }

  // screen is the state of the phone: a key of screens.
  get screen() {
    return this.#handset.shown;
  }

  get loggedOut() {
    return this.link.why === FINAL[CloseCode.Logout];
  }

  get waitingCalls() {
    return [...this.#calls.values()].some((call) => !call.settled);
  }

  get otherCalls() {
    return this.#calls.size > 1;
  }

  // wanted reports whether the phone is, or tries to be, online.
  get wanted() {
    return ['connecting', 'online', 'waiting'].includes(this.link.state);
  }

  // settled reports whether the connection has been up since the owner asked for it.
  get settled() {
    return this.#everOnline || this.link.state === 'online';
  }

  // foreground is the call on the screen: one that rings, else the one under way.
  get foreground() {
    const calls = [...this.#calls.values()];
    for (const screen of ['ringing', 'in-call', 'calling']) {
      const call = calls.find((c) => c.screen === screen);
      if (call) return call;
    }
    return null;
  }

  // ---- the connection

  connect() {
    if (this.#client.state !== 'idle') return;
    this.#enter('connecting');
    this.#client.connect().catch(() => {}); // disconnected tells
  }

  // goOffline lets go of the connection. The session stays.
  goOffline() {
    this.#client.close();
  }

  logOut() {
    this.#calls.clear();
    this.dismiss();
    return this.#client.logout().catch(() => {});
  }

  // remove logs out and leaves the page.
  remove() {
    clearInterval(this.#tick);
    clearTimeout(this.#outcomeTimer);
    this.#media.close();
    this.logOut();
    for (const item of ['session', 'own', 'seen']) sessionStorage.removeItem(this.#item(item));
    this.element.remove();
  }

  setNetwork(up) {
    if (up) this.line.mend();
    else this.line.cut();
    this.#render();
  }

  // ---- what the owner does

  call({ userIDs, mode, timeout, data }) {
    return this.#act(async () => {
      let reply;
      try {
        reply = await this.#client.invite({ user_ids: userIDs, timeout, mode, extended_data: data });
      } catch (error) {
        if (error.code !== NOT_REGISTERED) throw error;
        this.#conclude({
          reason: 'unreachable',
          title: `${this.people.list(userIDs)} cannot be rung`,
          detail: `Logged out, or never seen by the server (${NOT_REGISTERED})`,
        });
        return;
      }
      const failed = new Set(reply.error_users.map(({ user_id }) => user_id));
      this.#owns(reply.call_id);
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
      this.#noteFailed(reply);
    });
  }

  inviteMore(userIDs) {
    const call = this.foreground;
    return this.#act(async () => this.#noteFailed(await this.#client.inviteMore({ call_id: call.id, user_ids: userIDs })));
  }

  // join enters an advanced call whose ID this user knows.
  join(callID) {
    return this.#act(async () => {
      const call = await this.#client.join({ call_id: callID });
      this.#owns(callID);
      this.#put(call);
    });
  }

  cancel() {
    return this.#answer('cancel', (call) => call.finish({ reason: 'caller_cancel' }));
  }

  accept() {
    const others = [...this.#calls.values()].filter((call) => call !== this.foreground);
    return this.#answer('accept', (call) => {
      this.#owns(call.id);
      call.merge([{ user_id: this.id, state: 1 }]);
      for (const other of others) this.#leave(other);
    });
  }

  reject() {
    return this.#answer('reject', (call) => call.merge([{ user_id: this.id, state: 2 }]));
  }

  quit() {
    return this.#answer('quit', (call) => call.finish({ reason: 'quit' }));
  }

  end() {
    return this.#answer('end', (call) => call.finish({ reason: 'ended', by: this.id }));
  }

  // hangUp ends what follows a general call. The server has no part in that:
  // the pages of this browser stand in for the media layer of an app.
  hangUp() {
    const { id } = this.foreground;
    this.#hungUp(id);
    this.#media.postMessage(id);
  }

  #hungUp(callID) {
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

  #answer(operation, took) {
    const call = this.foreground;
    if (!call) return undefined;
    return this.#act(async () => {
      await this.#client[operation]({ call_id: call.id });
      took(call);
    });
  }

  // leave gives up a call because another one was accepted.
  #leave(call) {
    const operation = { calling: 'cancel', ringing: 'reject', 'in-call': call.advanced ? 'quit' : null }[call.screen];
    if (operation) this.#client[operation]({ call_id: call.id }).catch(() => {});
    this.#calls.delete(call.id);
  }

  // act does one thing at a time and shows why it failed. After a refusal the
  // phone asks for the truth: its screen was not it.
  async #act(work) {
    if (this.#busy) return;
    this.#busy = true;
    this.#handset.note(this.link.state === 'waiting' ? 'It is sent as soon as there is a connection.' : '');
    try {
      await work();
      if (this.link.state === 'online') this.#handset.unnote('It is sent');
    } catch (error) {
      this.#handset.note(error instanceof RingbackError ? `${error.message} (${error.code})` : error.message);
      if (this.link.state === 'online') this.#client.sync().catch(() => {});
    } finally {
      this.#busy = false;
      this.#render();
    }
  }

  #noteFailed({ error_users: failed }) {
    if (failed.length > 0) this.#handset.note(`Not rung: ${failed.map(({ user_id, code }) => `${this.nameOf(user_id)} (${code})`).join(', ')}`);
  }

  // owns remembers, across reloads, that a call is on this device rather than
  // on another one of the same user.
  #owns(callID) {
    this.#own.add(callID);
    sessionStorage.setItem(this.#item('own'), JSON.stringify([...this.#own].slice(-OWN_KEPT)));
  }

  #item(name) {
    return `ringback.${this.#space}.${name}.${this.key}`;
  }

  // ---- what the server says

  #listen() {
    const client = this.#client;
    client.on('connected', ({ session_id, server_time_ms }) => {
      sessionStorage.setItem(this.#item('session'), session_id);
      this.#clock = server_time_ms - Date.now();
      this.#everOnline = true;
      this.#enter('online');
    });
    client.on('disconnected', ({ code, reason, will_reconnect, error }) => {
      if (will_reconnect) {
        this.#enter('waiting', reason);
        return;
      }
      this.#everOnline = false;
      if (!client.sessionID) sessionStorage.removeItem(this.#item('session'));
      if (code === CloseCode.Logout) this.#calls.clear();
      if (code in FINAL) this.#enter('stopped', error ? `${error.message} (${error.code})` : FINAL[code]);
      else this.#enter('offline', reason === 'closed by the app' ? '' : reason);
    });
    client.on('snapshot', (snapshot) => this.#takeSnapshot(snapshot));
    for (const name of ['call.created', 'call.invited']) client.on(name, (view) => this.#put(view));
    for (const name of ['call.users_changed', 'call.cancelled', 'call.timed_out', 'call.answered_elsewhere', 'call.ended']) {
      client.on(name, (body) => {
        const call = this.#calls.get(body.call_id) ?? (this.#last?.id === body.call_id ? this.#last : null);
        if (call) this.#change(call, name, body);
        this.#render();
      });
    }
  }

  #enter(state, why = '') {
    this.link = { state, why };
    this.#render();
  }

  #takeSnapshot({ calls, ended }) {
    for (const view of calls) this.#put(view);
    for (const { call_id, state, reason, call: record } of ended) {
      const call = this.#calls.get(call_id);
      if (!call) continue;
      // To a user who is in state accepted a general call may have been
      // answered, rejected or neither: the record says which.
      if (record && !call.advanced && state === 1 && reason !== 'answered_elsewhere') call.merge(record.users);
      if (!call.settled) call.finish({ reason });
    }
    const told = new Set([...calls, ...ended].map(({ call_id }) => call_id));
    for (const call of this.#calls.values()) {
      if (!told.has(call.id) && !call.settled) call.finish({ reason: 'unknown' });
    }
    this.history.refresh();
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
        if (body.session_id !== this.#client.sessionID) call.finish({ reason: 'answered_elsewhere', answer: body.answer });
        break;
      case 'call.ended':
        call.finish({ reason: body.reason, by: body.operator, data: body.extended_data });
        break;
    }
  }

  // put takes a call as the server has it, and keeps what only the phone knows.
  // A call in which the user is on another device is not shown.
  #put(view) {
    const call = new Call(view, this.id, Date.now() + this.#clock);
    const before = this.#calls.get(call.id);
    if (before) call.connectedAt = before.connectedAt || call.connectedAt;
    else if (call.screen === 'in-call' && !this.#own.has(call.id)) return;
    this.#calls.set(call.id, call);
    this.#render();
  }

  // ---- what is shown

  #render() {
    if (!this.#handset) return;
    this.#settle();
    if (this.#handset.render()) this.#handlers.onScreen(this);
  }

  // settle turns calls that are over into the outcome.
  #settle() {
    for (const call of this.#calls.values()) {
      if (call.screen === 'in-call' && !this.#own.has(call.id)) call.finish({ reason: 'elsewhere' });
      if (call.screen !== 'outcome') continue;
      this.#calls.delete(call.id);
      this.#conclude(call.outcome(this.nameOf), call);
      this.history.refresh();
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
}
