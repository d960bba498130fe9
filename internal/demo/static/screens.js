// The screens of a phone. Each is built once: {element, update(phone, call)}.

import { duration, h, icon, setData, setText, svg } from './dom.js';

const MAX_DATA = 2048; // bytes of extended data
const RING = 2 * Math.PI * 46; // circumference of the countdown

// avatar is a circle with an initial and, around it, what is left of the ringing.
function avatar() {
  const initial = h('span', { class: 'initial', 'aria-hidden': 'true' });
  const arc = svg('circle', { class: 'arc', cx: 50, cy: 50, r: 46, 'stroke-dasharray': RING, 'stroke-dashoffset': RING });
  const element = h('div', { class: 'avatar' },
    svg('svg', { viewBox: '0 0 100 100', 'aria-hidden': 'true' },
      svg('circle', { class: 'track', cx: 50, cy: 50, r: 46 }), arc),
    initial);
  return {
    element,
    show(id, name, fraction = 0) {
      setData(element, { person: id });
      setText(initial, [...name][0]?.toUpperCase() ?? '?');
      arc.setAttribute('stroke-dashoffset', RING * (1 - Math.max(0, Math.min(1, fraction))));
    },
  };
}

function round(testid, symbol, label, onclick, kind) {
  return h('button', { type: 'button', class: `round ${kind}`, 'data-testid': testid, onclick },
    h('span', { class: 'disc' }, icon(symbol)), h('span', {}, label));
}

// payload shows extended data, however long, in a box of its own.
function payload() {
  const text = h('div', { class: 'payload-text', tabindex: '0', role: 'group', 'aria-label': 'Extended data' });
  const element = h('div', { class: 'payload', hidden: true }, h('span', { class: 'label' }, 'extended data'), text);
  return { element, show(data) { element.hidden = !data; setText(text, data); } };
}

// middle holds what can grow long. It scrolls, so that the buttons under it
// stay in sight.
function middle(...children) {
  return h('div', { class: 'middle' }, ...children);
}

function secondsLeft(call) {
  return Math.max(0, Math.ceil((call.ringsUntil - Date.now()) / 1000));
}

function fractionLeft(call) {
  return (call.ringsUntil - Date.now()) / call.timeout;
}

function names(phone, ids) {
  return ids.map(phone.nameOf).join(', ');
}

function offline(phone) {
  const face = avatar();
  const title = h('p', { class: 'title' });
  const detail = h('p', { class: 'detail' });
  const button = h('button', { type: 'button', class: 'wide plain', 'data-testid': 'resume', onclick: () => phone.connect() });
  return {
    element: h('div', { class: 'screen screen-offline' }, face.element, title, detail, button),
    update() {
      const { state, why } = phone.link;
      const busy = state === 'connecting' || state === 'waiting';
      face.show(phone.id, phone.name);
      setText(title, busy ? 'Connecting…' : state === 'stopped' ? sentence(why || 'Logged out') : 'Offline');
      setText(detail, busy ? why
        : state === 'stopped' ? (phone.loggedOut ? `Nobody can ring ${phone.name} now.` : '')
          : phone.waitingCalls ? 'A call was up when the line dropped. Come back to learn how it went.'
            : `The session is kept: calls for ${phone.name} wait on the server.`);
      setText(button, state === 'stopped' ? 'Log in' : 'Go online');
      button.hidden = busy;
    },
  };
}

function idle(phone) {
  const face = avatar();
  const label = h('span');
  const call = h('button', { type: 'button', class: 'wide go', 'data-testid': 'call', onclick: () => phone.call(options.values()) },
    icon('handset'), label);
  const options = dialOptions(phone, (text) => setText(label, text));
  return {
    element: h('div', { class: 'screen screen-idle' },
      face.element, h('p', { class: 'title name' }, phone.name), call, options.element),
    update() {
      face.show(phone.id, phone.name);
    },
  };
}

// dialOptions is the disclosure under the call button.
function dialOptions(phone, onLabel) {
  const id = (part) => `${phone.id}-${part}`;
  const users = h('input', { id: id('users'), type: 'text', value: phone.peer, 'data-testid': 'users', autocomplete: 'off', spellcheck: 'false' });
  const seconds = h('input', { id: id('timeout'), type: 'number', min: '1', max: '600', value: '30', 'data-testid': 'timeout' });
  const data = h('textarea', { id: id('data'), rows: '2', 'data-testid': 'extended-data', spellcheck: 'false', placeholder: '{"video":true}' });
  const size = h('span', { class: 'size' });
  const mode = (value, text, hint, checked) => h('label', {},
    h('input', { type: 'radio', name: id('mode'), value, checked, 'data-testid': `mode-${text.toLowerCase()}` }),
    h('span', {}, text, h('small', {}, hint)));
  const modes = h('fieldset', { class: 'modes' },
    h('legend', {}, 'Mode'),
    mode('0', 'General', 'ends on answer', true),
    mode('1', 'Advanced', 'leave, end for all'));

  const values = () => ({
    userIDs: [...new Set(users.value.split(',').map((s) => s.trim()).filter(Boolean))],
    mode: Number(modes.querySelector(':checked').value),
    timeout: Number(seconds.value),
    data: data.value,
  });
  const refresh = () => {
    const bytes = new TextEncoder().encode(data.value).length;
    setText(size, `${bytes} of ${MAX_DATA} bytes`);
    size.classList.toggle('over', bytes > MAX_DATA);
    onLabel(`Call ${names(phone, values().userIDs) || '…'}`);
  };
  const element = h('details', { class: 'options', 'data-testid': 'options', oninput: refresh },
    h('summary', {}, 'Options'),
    h('div', { class: 'option-list' },
      modes,
      h('label', { for: id('users'), class: 'short' }, 'Ring', users),
      h('label', { for: id('timeout'), class: 'short' }, 'For (s)', seconds),
      h('label', { for: id('data') }, 'Extended data', data, size)));
  refresh();
  return { element, values };
}

function calling(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name' });
  const detail = h('p', { class: 'detail' });
  const people = h('ul', { class: 'people' });
  return {
    element: h('div', { class: 'screen screen-calling' },
      middle(face.element, title, detail, people),
      h('div', { class: 'actions' }, round('cancel', 'handset', 'Cancel', () => phone.cancel(), 'stop'))),
    update(_, call) {
      const others = call.others;
      face.show(others[0].id, phone.nameOf(others[0].id), fractionLeft(call));
      setText(title, names(phone, others.map(({ id }) => id)));
      setText(detail, `${call.reached ? 'Ringing' : 'Calling'} · ${secondsLeft(call)} s`);
      showPeople(people, phone, others.length > 1 ? others : []);
    },
  };
}

function ringing(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name' });
  const detail = h('p', { class: 'detail' });
  const data = payload();
  const more = h('p', { class: 'detail more' });
  return {
    element: h('div', { class: 'screen screen-ringing' },
      middle(face.element, title, detail, data.element, more),
      h('div', { class: 'actions' },
        round('reject', 'handset', 'Reject', () => phone.reject(), 'stop'),
        round('accept', 'handset', 'Accept', () => phone.accept(), 'go'))),
    update(_, call) {
      face.show(call.inviter, phone.nameOf(call.inviter), fractionLeft(call));
      setText(title, phone.nameOf(call.inviter));
      setText(detail, `Incoming call · ${secondsLeft(call)} s`);
      data.show(call.data);
      const group = call.others.length > 1 ? `With ${names(phone, call.others.filter(({ id }) => id !== call.inviter).map(({ id }) => id))}` : '';
      setText(more, phone.otherCalls ? 'Accepting ends what is under way here' : group);
    },
  };
}

function inCall(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name' });
  const detail = h('p', { class: 'detail' });
  const people = h('ul', { class: 'people' });
  const hint = h('p', { class: 'hint' });
  const data = payload();
  const hangUp = round('hang-up', 'handset', 'Hang up', () => phone.hangUp(), 'stop');
  const quit = round('quit', 'door', 'Leave', () => phone.quit(), 'plain');
  const end = round('end', 'handset', 'End for all', () => phone.end(), 'stop');
  return {
    element: h('div', { class: 'screen screen-in-call' },
      middle(face.element, title, detail, hint, people, data.element),
      h('div', { class: 'actions' }, hangUp, quit, end)),
    update(_, call) {
      const others = call.others;
      face.show(others[0].id, phone.nameOf(others[0].id));
      setText(title, names(phone, others.map(({ id }) => id)));
      const alone = call.advanced && others.every(({ state }) => state !== 1);
      setText(detail, `${alone ? 'Nobody else is here' : 'In call'} · ${duration(Date.now() - call.connectedAt)}`);
      showPeople(people, phone, others.length > 1 ? others : []);
      data.show(call.data);
      setText(hint, call.advanced ? '' : 'The invitation is answered and over. From here your media SDK carries the call.');
      hangUp.hidden = call.advanced;
      quit.hidden = end.hidden = !call.advanced;
    },
  };
}

function showPeople(list, phone, others) {
  const rows = others.map(({ id, label }) => `${phone.nameOf(id)}\n${label}`);
  const key = rows.join('\n');
  if (list.dataset.key === key) return;
  setData(list, { key });
  list.hidden = rows.length === 0;
  list.replaceChildren(...others.map(({ id, state, label }) => h('li', { 'data-state': String(state) },
    h('span', { class: 'person' }, phone.nameOf(id)), h('span', { class: 'person-state' }, label))));
}

function outcome(phone) {
  const title = h('span', { class: 'title', 'data-testid': 'outcome' });
  const detail = h('span', { class: 'detail' });
  const mark = h('span', { class: 'mark', 'aria-hidden': 'true' });
  const element = h('button', { type: 'button', class: 'screen screen-outcome', onclick: () => phone.dismiss() },
    mark, title, detail, h('span', { class: 'hint' }, 'Click to close'));
  return {
    element,
    update() {
      const { reason, title: text, detail: more } = phone.outcome;
      setText(title, text);
      setText(detail, more);
      setData(title, { reason });
      setData(element, { reason });
    },
  };
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const screens = { offline, idle, calling, ringing, 'in-call': inCall, outcome };
