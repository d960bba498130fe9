// The inbox: the backend's side of every call. It shows each attempt of each
// callback as the receiver of the demo got it.

import { clock, h, plain, setData, setText } from './dom.js';

const RETRIES = [2, 4, 8, 16, 32]; // seconds after each failed attempt
const KEPT = 200;

export class Inbox {
  #rows = new Map(); // id → {row, callback, text, next}
  #latest = new Map(); // webhook id → newest attempt seen
  #nameOf;
  #onArrival;
  #list = document.getElementById('inbox-list');
  #empty = document.getElementById('inbox-empty');
  #filter = document.getElementById('inbox-filter');
  #count = document.getElementById('inbox-count');
  #status = document.getElementById('inbox-status');
  #modes = document.getElementById('receiver-modes');
  #hint = document.getElementById('receiver-hint');

  constructor({ nameOf, onArrival }) {
    this.#nameOf = nameOf;
    this.#onArrival = onArrival;
    this.#filter.addEventListener('input', () => this.#refilter());
    document.getElementById('inbox-clear').addEventListener('click', () => fetch('/demo/inbox', { method: 'DELETE' }));
    this.#modes.addEventListener('change', ({ target }) => this.#setMode(target.value));
    setInterval(() => this.#countDown(), 500);
    this.#listen();
  }

  #listen() {
    const source = new EventSource('/demo/inbox');
    source.addEventListener('open', () => this.#showStatus('live'));
    source.addEventListener('callback', ({ data }) => this.#add(JSON.parse(data)));
    source.addEventListener('clear', () => this.#clear());
    source.addEventListener('receiver', ({ data }) => this.#showMode(JSON.parse(data).mode));
    source.addEventListener('error', () => {
      this.#showStatus('away');
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.#listen(), 2000);
    });
  }

  #showStatus(state) {
    setData(this.#status, { state });
    setText(this.#status.lastElementChild, state === 'live' ? 'live' : 'connecting');
  }

  async #setMode(mode) {
    const response = await fetch('/demo/receiver', { method: 'POST', body: JSON.stringify({ mode }) }).catch(() => null);
    if (!response?.ok) setText(this.#hint, 'The switch could not be moved: the server does not answer.');
  }

  #showMode(mode) {
    const input = this.#modes.querySelector(`input[value="${CSS.escape(mode)}"]`);
    if (input) input.checked = true;
    setData(this.#modes, { mode });
    setText(this.#hint, {
      ok: 'Your backend answers. Switch to 500 or hang to watch retries.',
      fail: 'Each delivery is tried again after 2, 4, 8, 16 and 32 s, with the same webhook-id.',
      hang: 'Unanswered attempts time out, then are tried again after 2, 4, 8, 16 and 32 s.',
    }[mode]);
  }

  #add(callback) {
    const parsed = parse(callback.body);
    const row = this.#makeRow(callback, parsed);
    const entry = { row, callback, text: `${callback.event} ${callback.body} ${callback.webhook_id}`.toLowerCase() };
    this.#rows.set(callback.id, entry);
    if (callback.webhook_id) this.#latest.set(callback.webhook_id, callback.attempt);
    row.hidden = !this.#matches(entry);
    this.#list.prepend(row);
    if (this.#rows.size > KEPT) this.#drop(this.#rows.keys().next().value);
    this.#summarise();
    this.#onArrival(callback);
  }

  #drop(id) {
    const { row, callback } = this.#rows.get(id);
    row.remove();
    this.#rows.delete(id);
    if (this.#latest.get(callback.webhook_id) === callback.attempt) this.#latest.delete(callback.webhook_id);
  }

  #clear() {
    this.#rows.clear();
    this.#latest.clear();
    this.#list.replaceChildren();
    this.#summarise();
  }

  #matches({ text }) {
    return this.#filter.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  #refilter() {
    for (const entry of this.#rows.values()) entry.row.hidden = !this.#matches(entry);
    this.#summarise();
  }

  #summarise() {
    const shown = [...this.#rows.values()].filter(({ row }) => !row.hidden).length;
    setText(this.#count, shown === this.#rows.size ? String(shown) : `${shown} of ${this.#rows.size}`);
    this.#empty.hidden = this.#rows.size > 0;
  }

  #makeRow(callback, parsed) {
    const verified = callback.signature === 'verified';
    const answer = callback.answer === 0 ? 'held' : String(callback.answer);
    const row = h('details', {
      class: 'row',
      'data-testid': 'inbox-row',
      'data-event': callback.event,
      'data-signature': callback.signature,
      'data-call': callback.call_id,
      'data-attempt': String(callback.attempt),
      'data-answer': answer,
    },
    h('summary', {},
      h('span', { class: 'seal', role: 'img', 'aria-label': verified ? 'both signatures verified' : 'bad signature' }, verified ? '✓' : '✗'),
      h('span', { class: 'event-name' }, callback.event || 'not a callback'),
      h('span', { class: 'story' }, parsed ? this.#story(parsed) : ''),
      h('span', { class: 'meta' },
        h('span', { class: 'call-id', title: callback.call_id && `call ${callback.call_id}` }, callback.call_id),
        callback.sequence ? h('span', { class: 'sequence' }, `seq ${callback.sequence}`) : null,
        h('span', { class: 'attempt' }, `attempt ${callback.attempt || '?'}`),
        h('span', { class: 'answer' }, answer === 'held' ? 'not answered' : `answered ${answer}`),
        h('span', { class: 'retry' })),
      h('time', { datetime: new Date(callback.received_at_ms).toISOString() }, clock(callback.received_at_ms))));
    // Most rows are never opened: their inside is made when they are.
    row.addEventListener('toggle', () => row.append(this.#inside(callback, parsed)), { once: true });
    return row;
  }

  #inside(callback, parsed) {
    const body = parsed ? plain(JSON.stringify(parsed, null, 2)) : callback.body;
    return h('div', { class: 'inside' },
      h('ul', { class: 'checks' }, ...callback.checks.map(({ name, problem }) =>
        h('li', { class: problem ? 'bad' : 'good' },
          h('span', { 'aria-hidden': 'true' }, problem ? '✗ ' : '✓ '),
          h('code', {}, name), ' — ', problem || MEANINGS[name] || 'verified'))),
      h('h3', {}, 'Body'),
      h('pre', { class: 'code', tabindex: '0', 'data-testid': 'inbox-body' }, body),
      h('h3', {}, 'Headers'),
      h('pre', { class: 'code', tabindex: '0', 'data-testid': 'inbox-headers' }, callback.headers.map(([name, value]) => `${name}: ${value}`).join('\n')),
      callback.call_id ? h('button', { type: 'button', class: 'text', onclick: () => this.#only(callback.call_id) }, 'Show only this call') : null);
  }

  #only(callID) {
    this.#filter.value = callID;
    this.#refilter();
  }

  // story says in words what a callback reports.
  #story(body) {
    const name = (id) => this.#nameOf(String(id ?? '?'));
    const names = Array.isArray(body.user_ids) ? body.user_ids.map(name).join(', ') : '';
    switch (body.event) {
      case 'call_create': return `${name(body.caller)} calls ${names}`;
      case 'call_received': return `${name(body.user_id)}’s phone rings`;
      case 'call_accept': return `${name(body.user_id)} accepted`;
      case 'call_reject': return `${name(body.user_id)} rejected`;
      case 'call_cancel': return body.reason === 'timeout_cancel' ? `${names} did not answer` : `call to ${names} cancelled`;
      case 'call_timeout': return `${names} did not answer`;
      case 'call_invite': return `${name(body.inviter)} also calls ${names}`;
      case 'call_join': return `${name(body.user_id)} joined`;
      case 'call_quit': return `${name(body.user_id)} left`;
      case 'call_end': return `over after ${body.duration} s (${body.reason})`;
      case 'user_action': return `${name(body.user_id)} ${{ 0: 'came online', 1: 'logged out', 2: 'went offline' }[body.action] ?? ''}`;
      default: return '';
    }
  }

  // countDown says, on failed attempts that nothing has followed yet, when
  // the next one is due.
  #countDown() {
    for (const { row, callback } of this.#rows.values()) {
      if (callback.answer >= 200 && callback.answer < 300) continue;
      const retry = row.querySelector('.retry');
      setText(retry, this.#nextAttempt(callback));
    }
  }

  #nextAttempt({ webhook_id, attempt, answer, received_at_ms }) {
    if (!webhook_id || this.#latest.get(webhook_id) !== attempt) return '';
    if (attempt > RETRIES.length) return 'given up';
    if (answer === 0) return 'retry follows';
    const left = received_at_ms + RETRIES[attempt - 1] * 1000 - Date.now();
    return left > 0 ? `retry in ${Math.ceil(left / 1000)} s` : left > -3000 ? 'retry due' : '';
  }
}

const MEANINGS = {
  signature: 'SHA-1 over the sorted secret, timestamp and nonce',
  'webhook-signature': 'HMAC-SHA256 over id, timestamp and body (Standard Webhooks)',
};

function parse(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
