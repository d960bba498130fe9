// A call as one phone sees it: what the server said of it, which screen that
// makes, and, at the end, the one outcome in words.

// States of a user in a call.
const ACCEPTED = 1;
const REJECTED = 2;
const CANCELLED = 3;
const RECEIVED = 5;
const TIMEOUT = 6;
const QUIT = 7;
const BE_CANCELLED = 10;
const PENDING = new Set([0, RECEIVED, 9]);

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
  acknowledged = false; // call.received has been sent
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

  get pending() {
    return PENDING.has(this.#users.get(this.#me));
  }

  // unacknowledged reports whether the server does not know that it rings here.
  get unacknowledged() {
    return !this.acknowledged && this.pending && this.#users.get(this.#me) !== RECEIVED;
  }

  // others are everyone else: [{id, state, label}].
  get others() {
    return [...this.#users]
      .filter(([id]) => id !== this.#me)
      .map(([id, state]) => ({ id, state, label: STATE_NAMES[state] ?? '' }));
  }

  // reached reports whether somebody's device has confirmed that it rings.
  get reached() {
    return this.others.some(({ state }) => state === RECEIVED);
  }

  get screen() {
    if (this.finished) return 'outcome';
    if (this.pending) return 'ringing';
    if (this.#users.get(this.#me) !== ACCEPTED) return 'outcome';
    const others = this.others;
    // Who has left was there: an advanced call goes on without him.
    if (others.some(({ state }) => state === ACCEPTED || state === QUIT)) return 'in-call';
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
    if (states.includes(REJECTED) && !states.includes(TIMEOUT)) return 'rejected';
    if (states.some((s) => s === CANCELLED || s === BE_CANCELLED)) return 'caller_cancel';
    return reason ?? (states.includes(TIMEOUT) ? 'timeout' : 'unknown');
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
        const rejecters = this.outgoing ? this.others.filter(({ state }) => state === REJECTED).map(({ id }) => id) : [this.#me];
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
