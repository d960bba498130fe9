// What the page knows of its app, and the panel "Connect your own app":
// addresses and commands ready to copy.

import { h, setText } from './dom.js';

const HIDDEN = '••••••••••••••••';

// readConfig resolves to the configuration of the phones of this server.
export async function readConfig() {
  return {
    ...(await (await fetch('/demo/config.json')).json()),
    space: 'demo',
    token: async (userID) => (await postJSON('/demo/token', { user_id: userID })).token,
    phonePath: ({ user_id, name }) => `/phone?${new URLSearchParams({ user: user_id, ...(name && { name }) })}`,
  };
}

export function setUpConnect(config) {
  const dialog = document.getElementById('connect');
  const fields = document.getElementById('connect-fields');
  let secret = null; // fetched only when asked for
  const fetchSecret = async () => {
    secret ??= (await postJSON('/demo/secret', {})).app_secret;
    return secret;
  };

  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const url = `${scheme}://${location.host}/v1/connect`;
  const command = (text) => `ringback token --app ${config.app_id} --secret ${text} --user carol`;

  const secretText = h('code', { 'data-testid': 'app-secret' }, HIDDEN);
  const commandText = h('code', {}, command('…'));
  const show = h('button', { type: 'button', class: 'small', 'data-testid': 'show-secret', 'aria-pressed': 'false' }, 'Show');
  show.addEventListener('click', async () => {
    const visible = show.getAttribute('aria-pressed') !== 'true';
    const value = visible ? await fetchSecret() : '';
    show.setAttribute('aria-pressed', String(visible));
    setText(show, visible ? 'Hide' : 'Show');
    setText(secretText, visible ? value : HIDDEN);
    setText(commandText, command(visible ? quote(value) : '…'));
  });

  const row = (label, code, copied, ...more) => h('div', { class: 'field' },
    h('dt', {}, label),
    h('dd', {}, code, ...more, copyButton(label, copied)));
  const fixed = (label, text) => row(label, h('code', {}, text), () => text);
  const login = { id: 1, op: 'login', body: { app_id: config.app_id, user_id: 'carol', token: '04…' } };
  fields.replaceChildren(
    fixed('App ID', String(config.app_id)),
    row('App secret', secretText, fetchSecret, show),
    fixed('WebSocket', url),
    fixed('Subprotocol', 'ringback.v1'),
    row('A login token', commandText, async () => command(quote(await fetchSecret()))),
    fixed('The first frame', JSON.stringify(login)),
    fixed('Callbacks to your machine', 'ringback listen --forward http://localhost:3000/callbacks'));

  document.getElementById('connect-open').addEventListener('click', () => dialog.showModal());
  document.getElementById('connect-close').addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
}

function copyButton(label, text) {
  const button = h('button', { type: 'button', class: 'small', 'aria-label': `Copy: ${label}` }, 'Copy');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(await text());
      setText(button, 'Copied');
    } catch {
      setText(button, 'No access');
    }
    setTimeout(() => setText(button, 'Copy'), 1500);
  });
  return button;
}

// quote makes one word of a POSIX shell out of any text.
function quote(text) {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

// postJSON resolves to the answer to a small POST.
async function postJSON(path, body) {
  const response = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })
    .catch(() => { throw new Error('The server does not answer.'); });
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response.json();
}
