// The page: two phones, the wires between them, and the inbox.

import { postJSON, setUpConnect } from './connect.js';
import { h, setData } from './dom.js';
import { Inbox } from './inbox.js';
import { Phone } from './phone.js';

const PULSE = 900; // ms that the wire to the backend glows for a callback

async function start() {
  const config = await (await fetch('/demo/config.json')).json();
  const names = new Map(config.users.map(({ user_id, name }) => [user_id, name]));
  const nameOf = (id) => names.get(id) ?? id;

  const phones = [];
  const wire = document.getElementById('wire-phones');
  const showWire = () => {
    const shown = phones.map((phone) => phone.screen);
    setData(wire, {
      state: shown.includes('ringing') ? 'ringing' : shown.every((screen) => screen === 'in-call') ? 'in-call' : 'quiet',
      from: shown.indexOf('calling') > shown.indexOf('ringing') ? 'right' : 'left',
    });
  };
  for (const [i, user] of config.users.entries()) {
    phones.push(new Phone({
      user,
      peer: config.users[(i + 1) % config.users.length].user_id,
      nameOf,
      handlers: {
        credentials: async () => ({
          app_id: config.app_id,
          user_id: user.user_id,
          user_name: user.name,
          token: (await postJSON('/demo/token', { user_id: user.user_id })).token,
        }),
        onHangUp: (callID) => phones.forEach((phone) => phone.hungUp(callID)),
        onScreen: showWire,
      },
    }));
  }
  phones.forEach((phone, i) => document.getElementById(`place-${i + 1}`).replaceChildren(phone.element));

  const backendWire = document.getElementById('wire-backend');
  let pulse = 0;
  new Inbox({
    nameOf,
    onArrival: ({ signature, received_at_ms }) => {
      if (Date.now() - received_at_ms > PULSE) return; // replayed
      setData(backendWire, { state: signature === 'verified' ? 'delivering' : 'quiet' });
      clearTimeout(pulse);
      pulse = setTimeout(() => setData(backendWire, { state: 'quiet' }), PULSE);
    },
  });
  setUpConnect(config);
  phones.forEach((phone) => phone.connect());
}

start().catch((error) => {
  document.getElementById('place-1').replaceChildren(
    h('p', { class: 'failure', role: 'alert' }, `The demo could not start: ${error.message}. Is the server still running? Reload the page to try again.`));
});
