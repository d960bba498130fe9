// The screens of a phone. Each is built once: {element, update(phone, call)}.

import { dial, peopleField } from './dial.js';
import { clock, duration, h, hue, icon, setData, setText, svg } from './dom.js';
import { initial as initialOf } from './people.js';

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
      hue(element, id);
      setText(initial, initialOf(name));
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
  const text = h('div', { class: 'payload-text', dir: 'auto', tabindex: '0', role: 'group', 'aria-label': 'Extended data' });
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
      setText(detail, !phone.line.up ? 'There is no network.' : busy ? why
        : state === 'stopped' ? (phone.loggedOut ? `Nobody can ring ${phone.name} now.` : '')
          : why ? sentence(why)
            : phone.waitingCalls ? 'A call was up when the line dropped. Come back to learn how it went.'
              : `The session is kept: calls for ${phone.name} wait on the server.`);
      setText(button, state === 'stopped' ? 'Log in' : 'Go online');
      button.hidden = busy;
    },
  };
}

function idle(phone) {
  const face = avatar();
  const options = dial(phone);
  const history = past(phone);
  return {
    element: h('div', { class: 'screen screen-idle' },
      face.element, h('p', { class: 'title name', dir: 'auto' }, phone.name), options.button, options.element, history.element),
    update() {
      face.show(phone.id, phone.name);
      options.update();
      history.update();
    },
  };
}

// past lists the calls that were missed and those that can be joined.
function past(phone) {
  const missed = h('ul', { class: 'past', 'data-testid': 'missed' });
  const count = h('span', { class: 'count', 'data-testid': 'missed-count' });
  const clear = h('button', { type: 'button', class: 'text', 'data-testid': 'clear-missed', onclick: () => { phone.history.clear(); update(); } }, 'Clear');
  const missedBox = h('details', { class: 'options' }, h('summary', { 'data-testid': 'missed-open' }, 'Missed ', count), missed, clear);
  const joinable = h('ul', { class: 'past', 'data-testid': 'joinable' });
  const id = h('input', { type: 'text', inputmode: 'numeric', placeholder: 'Call ID', 'aria-label': 'Call ID', 'data-testid': 'join-id', autocomplete: 'off' });
  const join = h('form', { class: 'line-form', onsubmit: (event) => { event.preventDefault(); phone.join(id.value.trim()); } },
    id, h('button', { type: 'submit', class: 'small', 'data-testid': 'join' }, 'Join'));
  const joinBox = h('details', { class: 'options' }, h('summary', { 'data-testid': 'join-open' }, 'Join a call'), joinable, join,
    h('p', { class: 'hint' }, 'Calls in advanced mode: rejoin one, or enter by its ID.'));
  const row = ({ id: callID, from, at }, label, testid, act) => h('li', { 'data-call': callID },
    h('span', { class: 'person', dir: 'auto' }, phone.nameOf(from)),
    h('time', {}, clock(at).slice(0, 5)),
    h('button', { type: 'button', class: 'small', 'data-testid': testid, onclick: act }, label));
  const fill = (list, entries, make) => {
    const key = entries.map((e) => `${e.id} ${phone.nameOf(e.from)}`).join();
    if (list.dataset.key === key) return;
    setData(list, { key });
    list.replaceChildren(...entries.map(make));
  };
  function update() {
    const { missed: calls, joinable: live } = phone.history;
    setText(count, String(calls.length));
    missedBox.hidden = calls.length === 0;
    fill(missed, calls, (e) => row(e, 'Call back', 'call-back', () => phone.call({ userIDs: [e.from], mode: 0, timeout: 30, data: '' })));
    fill(joinable, live, (e) => row(e, 'Join', 'rejoin', () => phone.join(e.id)));
  }
  return { element: h('div', { class: 'pasts' }, missedBox, joinBox), update };
}

function calling(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name', dir: 'auto' });
  const detail = h('p', { class: 'detail' });
  const people = h('ul', { class: 'people' });
  return {
    element: h('div', { class: 'screen screen-calling' },
      middle(face.element, title, detail, people),
      h('div', { class: 'actions' }, round('cancel', 'handset', 'Cancel', () => phone.cancel(), 'stop'))),
    update(_, call) {
      const others = call.others;
      face.show(others[0].id, phone.nameOf(others[0].id), fractionLeft(call));
      setText(title, phone.people.list(others.map(({ id }) => id)));
      setText(detail, `${call.reached ? 'Ringing' : 'Calling'} · ${secondsLeft(call)} s`);
      showPeople(people, phone, others.length > 1 ? others : []);
    },
  };
}

function ringing(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name', dir: 'auto' });
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
      const group = call.others.length > 1 ? `With ${phone.people.list(call.others.filter(({ id }) => id !== call.inviter).map(({ id }) => id))}` : '';
      setText(more, phone.otherCalls ? 'Accepting ends what is under way here' : group);
    },
  };
}

function inCall(phone) {
  const face = avatar();
  const title = h('p', { class: 'title name', dir: 'auto' });
  const detail = h('p', { class: 'detail' });
  const people = h('ul', { class: 'people' });
  const hint = h('p', { class: 'hint' });
  const data = payload();
  const hangUp = round('hang-up', 'handset', 'Hang up', () => phone.hangUp(), 'stop');
  const quit = round('quit', 'door', 'Leave', () => phone.quit(), 'plain');
  const end = round('end', 'handset', 'End for all', () => phone.end(), 'stop');
  const callID = h('code', { 'data-testid': 'call-id' });
  const more = peopleField(phone, { testid: 'more-users', label: 'Invite more', value: '' });
  const invite = h('form', {
    class: 'invite',
    onsubmit: (event) => {
      event.preventDefault();
      if (more.userIDs.length > 0) phone.inviteMore(more.userIDs);
      more.clear();
    },
  }, more.element, h('button', { type: 'submit', class: 'small', 'data-testid': 'invite-more' }, 'Invite'), h('p', { class: 'hint' }, 'Call ', callID));
  return {
    element: h('div', { class: 'screen screen-in-call' },
      middle(face.element, title, detail, hint, people, data.element, invite),
      h('div', { class: 'actions' }, hangUp, quit, end)),
    update(_, call) {
      const others = call.others;
      face.show(others[0].id, phone.nameOf(others[0].id));
      setText(title, phone.people.list(others.map(({ id }) => id)));
      const alone = call.advanced && others.every(({ state }) => state !== 1);
      setText(detail, `${alone ? 'Nobody else is here' : 'In call'} · ${duration(Date.now() - call.connectedAt)}`);
      showPeople(people, phone, others.length > 1 ? others : []);
      data.show(call.data);
      setText(hint, call.advanced ? '' : 'The invitation is answered and over. From here your media SDK carries the call.');
      hangUp.hidden = call.advanced;
      quit.hidden = end.hidden = invite.hidden = !call.advanced;
      setText(callID, call.id);
      more.update();
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
    h('span', { class: 'person', dir: 'auto' }, phone.nameOf(id)), h('span', { class: 'person-state' }, label))));
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
