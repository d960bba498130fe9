// The protocol log under a phone: every frame that it sent and received,
// newest first.

import { clock, h, plain, setText } from './dom.js';

const KEPT = 200;

export class FrameLog {
  #list = h('ol', { class: 'frames' });
  #count = h('span', { class: 'count' }, '0');
  #asked = new Map(); // id → op, to name the replies
  #frames = 0;

  constructor(name) {
    this.element = h('details', { class: 'log', 'data-testid': 'log' },
      h('summary', {}, 'Protocol log ', this.#count),
      h('div', { class: 'log-scroll', tabindex: '0', role: 'region', 'aria-label': `Protocol log of ${name}` }, this.#list));
  }

  add(way, frame) {
    let name = frame.event ?? frame.op;
    if (frame.op) {
      this.#asked.set(frame.id, frame.op);
    } else if (!frame.event) {
      name = this.#asked.get(frame.id) ?? 'reply';
      this.#asked.delete(frame.id);
    }
    const kind = frame.error ? 'error' : frame.event ? 'event' : way === 'out' ? 'request' : 'reply';
    this.#list.prepend(h('li', { class: `frame ${kind}`, 'data-testid': 'log-entry' },
      h('details', {},
        h('summary', {},
          h('span', { class: 'way', 'aria-hidden': 'true' }, way === 'out' ? '↑' : '↓'),
          h('span', { class: 'frame-name' }, name),
          h('span', { class: 'frame-kind' }, frame.id ? `${kind} ${frame.id}` : kind),
          h('time', {}, clock(Date.now()))),
        h('pre', { tabindex: '0' }, plain(JSON.stringify(frame, null, 2))))));
    if (this.#list.childElementCount > KEPT) this.#list.lastElementChild.remove();
    setText(this.#count, String(++this.#frames));
  }
}
