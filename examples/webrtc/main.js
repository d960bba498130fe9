// The page: index.html?user=alice.

import { loginToken, server, settings } from './backend.js';
import { Phone } from './phone.js';
import { LIMIT } from './signal.js';

const byID = (id) => document.getElementById(id);
const setText = (id, text) => { if (byID(id).textContent !== text) byID(id).textContent = text; }; // live regions stay quiet
const link = (user) => `?${new URLSearchParams({ user })}`;

const TITLES = {
  preparing: () => 'One moment…',
  calling: ({ with: user }) => `Calling ${user}…`,
  ringing: ({ with: user }) => `${user} is calling`,
  connecting: ({ with: user }) => `Connecting to ${user}…`,
  connected: ({ with: user }) => user,
  failed: () => 'No connection',
};

async function start() {
  const { appID, people } = await settings();
  const user = new URLSearchParams(location.search).get('user');
  if (!user) {
    byID('people').replaceChildren(...people.map((id) => Object.assign(document.createElement('a'), { href: link(id), textContent: id, className: 'button' })));
    byID('choose').hidden = false;
    byID('choose').addEventListener('submit', (event) => {
      event.preventDefault();
      location.search = link(byID('choose-user').value.trim());
    });
    return;
  }
  const others = people.filter((id) => id !== user);
  const phone = new Phone({ server, appID, user, token: () => loginToken(user), onChange: () => show(phone) });

  setText('user', user);
  byID('peer').value = others[0] ?? '';
  byID('known').replaceChildren(...others.map((value) => Object.assign(document.createElement('option'), { value })));
  byID('idle').addEventListener('submit', (event) => {
    event.preventDefault();
    phone.ring(byID('peer').value.trim());
  });
  byID('accept').addEventListener('click', () => phone.accept());
  for (const id of ['reject', 'hang-up']) byID(id).addEventListener('click', () => phone.hangUp());
  for (const [id, kind] of [['mute', 'audio'], ['hide', 'video']]) {
    byID(id).addEventListener('click', () => byID(id).setAttribute('aria-pressed', String(!phone.toggle(kind))));
  }
  byID('source').addEventListener('change', ({ target }) => { phone.source = target.value; });
  const other = byID('other');
  other.href = link(others[0] ?? 'bob');
  other.textContent = `Open a window of ${others[0] ?? 'bob'}`;
  other.hidden = byID('device').hidden = false;
  addEventListener('pagehide', () => phone.leave());
  setInterval(() => showTraffic(phone), 1000);

  show(phone);
  await phone.connect();
}

function show(phone) {
  const { call, online, problem, last } = phone;
  const state = call?.state ?? (online ? 'idle' : 'offline');
  document.body.dataset.state = state;
  document.title = state === 'ringing' ? `☎ ${call.with} is calling` : 'WebRTC call — Ringback example';
  byID('device').dataset.online = online;
  setText('link', online ? 'online' : problem ? `offline: ${problem}` : 'connecting…');
  setText('title', call ? TITLES[state](call) : last || 'Nobody is on the line');
  setText('detail', call?.detail ?? '');
  setText('note', call?.note ?? '');
  byID('note').hidden = !call?.note;

  const acting = Boolean(call) && state !== 'ringing';
  byID('idle').hidden = Boolean(call);
  byID('idle').querySelector('button').disabled = !online;
  byID('ringing').hidden = state !== 'ringing';
  byID('busy').hidden = !acting;
  byID('source').hidden = acting;
  for (const id of ['mute', 'hide']) {
    byID(id).disabled = !call?.local;
    if (!call?.local) byID(id).setAttribute('aria-pressed', 'false');
  }
  setText('hang-up', call && !call.joined ? 'Cancel' : 'Hang up');

  attach(byID('local'), call?.local);
  byID('local').hidden = !call?.local;
  attach(byID('remote'), call?.remote);
  byID('facts').hidden = !call?.joined;
  setText('signalled', call?.joined ? `an offer of ${call.incoming ? call.got : call.sent} bytes and an answer of ${call.incoming ? call.sent : call.got}; each may have ${LIMIT}` : '');
  if (!call) setText('traffic', 'nothing yet');
}

function attach(video, stream = null) {
  if (video.srcObject === stream) return;
  video.srcObject = stream;
}

async function showTraffic({ call }) {
  if (!call?.joined) return;
  const { bytes, frames } = await call.peer.traffic();
  setText('traffic', `${(bytes / 1000).toFixed(0)} kB and ${frames} pictures received`);
}

start().catch((error) => {
  const failure = byID('failure');
  failure.textContent = `The page could not start: ${error.message} Reload it to try again.`;
  failure.hidden = false;
});
