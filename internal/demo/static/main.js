// The page: two phones and more if wanted, the wires between them, and the inbox.

import { readConfig, setUpConnect } from './connect.js';
import { h, setData, setText } from './dom.js';
import { Inbox } from './inbox.js';
import { People } from './people.js';
import { Phones } from './phones.js';
import { setUpSound } from './sound.js';

const PULSE = 900; // ms that the wire to the backend glows for a callback

async function start() {
  const config = await readConfig();
  const people = new People();
  const byID = (id) => document.getElementById(id);

  const ringer = setUpSound(byID('sound'));
  const title = document.title;
  const wire = byID('wire-phones');
  const showCalls = () => {
    const ringing = phones.all.filter(({ screen }) => screen === 'ringing');
    ringer.ring(ringing.length > 0);
    document.title = ringing.length > 0 ? `☎ ${ringing[0].label} is ringing` : title;
    const shown = phones.all.slice(0, config.users.length).map(({ screen }) => screen);
    setData(wire, {
      state: shown.includes('ringing') ? 'ringing' : shown.every((screen) => screen === 'in-call') ? 'in-call' : 'quiet',
      from: shown.indexOf('calling') > shown.indexOf('ringing') ? 'right' : 'left',
    });
  };
  const phones = new Phones({
    config,
    people,
    places: config.users.map((_, i) => byID(`place-${i + 1}`)),
    more: byID('more-phones'),
    onScreen: showCalls,
  });

  const backendWire = byID('wire-backend');
  let pulse = 0;
  new Inbox({
    nameOf: (id) => people.nameOf(id),
    onArrival: ({ signature, received_at_ms }) => {
      if (Date.now() - received_at_ms > PULSE) return; // replayed
      setData(backendWire, { state: signature === 'verified' ? 'delivering' : 'quiet' });
      clearTimeout(pulse);
      pulse = setTimeout(() => setData(backendWire, { state: 'quiet' }), PULSE);
    },
  });
  setUpConnect(config);
  phones.open();

  const [user, name, failure] = ['add-user', 'add-name', 'add-failure'].map(byID);
  byID('add-phone').addEventListener('submit', (event) => {
    event.preventDefault();
    setText(failure, '');
    try {
      phones.add({ user_id: user.value.trim(), name: name.value.trim() }).element.scrollIntoView({ block: 'nearest' });
      user.value = name.value = '';
    } catch (error) {
      setText(failure, error.message);
    }
  });
}

start().catch((error) => {
  document.getElementById('place-1').replaceChildren(
    h('p', { class: 'failure', role: 'alert' }, `The demo could not start: ${error.message}. Is the server still running? Reload the page to try again.`));
});
