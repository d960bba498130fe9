// A call as one phone sees it: what the server said of it, which screen that
// makes, and, at the end, the one outcome in words.

import { UserState } from './ringback.js';

const { Accepted, Rejected, Cancelled, Received, Timeout, Quit, BeCancelled } = UserState;
const PENDING = new Set([UserState.Inviting, Received, UserState.NotYetReceived]);

const STATE_NAMES = {
  0: 'calling…',
  1: 'in the call',
  2: 'rejected',
  3: 'cancelled',
  5: 'ringing…',
  6: 'no answer',
  7: 'left',
  8: 'ended',
  9: 'not reached yet…',
  10: 'cancelled',
};

export class Call {
  finished = null; // {reason, by?, answer?, data?} once it is over for this phone
  connectedAt = 0; // own clock, ms
  finishedAt = 0;
  #me;
  #users = new Map(); // user_id → state

  // view is the call of the protocol; serverNow the server's clock.
  constructor(view, me, serverNow) {
    this.#me = me;
    this.id = view.call_id;
    this.advanced = view.mode === 1;
    this.caller = view.caller;
    this.inviter = view.inviter || view.caller;
    this.data = view.extended_data ?? '';
    this.timeout = view.timeout * 1000;
    // A phone that is rung counts down what the server says is left; the
    // caller's counts from the creation of the call.
    const left = view.ring_remaining_ms || view.create_time_ms + this.timeout - serverNow;
    this.ringsUntil = Date.now() + Math.min(this.timeout, left);
    this.merge(view.users);
  }

  merge(users) {
    for (const { user_id, state } of users) this.#users.set(user_id, state);
    if (!this.connectedAt && this.screen === 'in-call') this.connectedAt = Date.now();
  }

  // finish records why the call is over for this phone. The first reason stays.
  finish(reason) {
    if (this.finished) return;
    this.finished = reason;
    this.finishedAt = Date.now();
  }

  get outgoing() {
    return this.caller === this.#me;
  }

  // accepted reports whether this user is in the call, on some device of his.
  get accepted() {
    return this.#users.get(this.#me) === Accepted;
  }

  get pending() {
    return PENDING.has(this.#users.get(this.#me));
  }

  // others are everyone else: [{id, state, label}].
  get others() {
    return [...this.#users]
      .filter(([id]) => id !== this.#me)
      .map(([id, state]) => ({ id, state, label: STATE_NAMES[state] ?? '' }));
  }

  // reached reports whether somebody's device has confirmed that it rings.
  get reached() {
    return this.others.some(({ state }) => state === Received);
  }

  get screen() {
    if (this.finished) return 'outcome';
    if (this.pending) return 'ringing';
    if (!this.accepted) return 'outcome';
    const others = this.others;
    // Who has left was there: an advanced call goes on without him.
    if (others.some(({ state }) => state === Accepted || state === Quit)) return 'in-call';
    return others.some(({ state }) => PENDING.has(state)) ? 'calling' : 'outcome';
  }

  // settled reports whether the server has nothing more to say of it, though
  // the phone may still show it: a general call ends with the answer.
  get settled() {
    const screen = this.screen;
    return screen === 'outcome' || (screen === 'in-call' && !this.advanced);
  }

  // reason is the word of the protocol for the outcome.
  get reason() {
    const reason = this.finished?.reason;
    if (reason && reason !== 'unanswered') return reason;
    const others = this.others.map(({ state }) => state);
    const states = this.outgoing ? others : [this.#users.get(this.#me)];
    if (states.includes(Rejected) && !states.includes(Timeout)) return 'rejected';
    if (states.some((s) => s === Cancelled || s === BeCancelled)) return 'caller_cancel';
    return reason ?? (states.includes(Timeout) ? 'timeout' : 'unknown');
  }

  // outcome is {reason, title, detail}; name turns a user ID into a name.
  outcome(name) {
    const { by, answer, data } = this.finished ?? {};
    const reason = this.reason;
    const who = (id) => (id === this.#me ? 'You' : name(id));
    const detail = data ? `With: ${data}` : this.connectedAt ? `After ${spoken(this.finishedAt - this.connectedAt)}` : '';
    const say = (title, otherwise = '') => ({ reason, title, detail: detail || otherwise });
    switch (reason) {
      case 'rejected': {
        const rejecters = this.outgoing ? this.others.filter(({ state }) => state === Rejected).map(({ id }) => id) : [this.#me];
        return say(`${rejecters.map(who).join(', ')} rejected`);
      }
      case 'timeout':
      case 'unanswered':
        return say('No answer', this.outgoing ? '' : `You missed a call from ${name(this.inviter)}`);
      case 'caller_cancel':
        return say(this.outgoing ? 'You cancelled' : `Cancelled by ${name(this.caller)}`);
      case 'caller_left':
        return say(`${name(this.caller)} went away`, 'The last device of the caller logged out or lost its connection');
      case 'answered_elsewhere':
        return say(`${answer === 'rejected' ? 'Rejected' : 'Answered'} on another device`);
      case 'elsewhere':
        return say('In the call on another device');
      case 'quit':
        return say('You left');
      case 'ended':
        return say(by ? `${who(by)} ended the call` : 'The call was ended');
      case 'all_left':
        return say('Everyone has left');
      case 'max_duration':
        return say('The longest call is over', 'The server ends calls at their maximum length');
      case 'hung_up':
        return say('Hung up');
      default:
        return say('The call is over', 'It ended while this phone was away');
    }
  }
}

function spoken(ms) {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
