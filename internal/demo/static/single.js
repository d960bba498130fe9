// The page of one phone: /phone?user=alice&name=Alice.

import { readConfig } from './connect.js';
import { h, setText } from './dom.js';
import { People } from './people.js';
import { newPhone } from './phones.js';
import { setUpSound } from './sound.js';

const byID = (id) => document.getElementById(id);

function choose() {
  const form = byID('choose');
  form.hidden = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const [user, name] = ['choose-user', 'choose-name'].map((id) => byID(id).value.trim());
    location.search = String(new URLSearchParams({ user, ...(name && { name }) }));
  });
}

async function start() {
  const port = location.port || '80';
  setText(byID('tunnel'), `ssh -N -L ${port}:127.0.0.1:${port} this-machine`);
  setText(byID('address'), `http://127.0.0.1:${port}/phone?user=bob`);
  const ringer = setUpSound(byID('sound'));
  const asked = new URLSearchParams(location.search);
  const id = asked.get('user');
  if (!id) {
    choose();
    return;
  }
  const config = await readConfig();
  const people = new People();
  for (const { user_id, name } of config.users) people.add(user_id, name);
  people.add(id, asked.get('name'));
  const phone = newPhone({
    config,
    people,
    user: { user_id: id, name: asked.get('name') ?? '' },
    device: 1,
    onScreen: ({ screen, foreground, label }) => {
      ringer.ring(screen === 'ringing');
      document.title = screen === 'ringing' ? `☎ ${people.nameOf(foreground.inviter)}` : `${label} — Ringback`;
    },
  });
  byID('phone').replaceChildren(phone.element);
  phone.connect();
}

start().catch((error) => {
  byID('phone').replaceChildren(
    h('p', { class: 'failure', role: 'alert' }, `The phone could not start: ${error.message}. Is the server still running? Reload the page to try again.`));
});
