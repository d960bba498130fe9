// The phones of the page "Try it". They are the program of `ringback dev`, in
// a shadow tree with styles of their own; their tokens come from the console.

const FRESH = 45 * 60_000; // ms for which a token is used again
const USERS = [{ user_id: 'try-alice', name: 'Alice' }, { user_id: 'try-bob', name: 'Bob' }];

const byID = (id) => document.getElementById(id);
const root = byID('phones');
const { app, assets, user, name } = root.dataset;

// Each token that is made is in the audit log, so a phone that comes back
// after a break takes the one it had.
const tokens = new Map(); // user ID → {token, until}

async function token(userID) {
  const known = tokens.get(userID);
  if (known && Date.now() < known.until) return known.token;
  const answer = await fetch('/console/try/token', {
    method: 'POST',
    headers: { 'HX-Request': 'true' }, // a refusal instead of the page to sign in
    body: new URLSearchParams({ app, user: userID }),
  }).catch(() => { throw new Error('The server does not answer.'); });
  if (answer.status === 401) throw new Error('You are signed out of the console: reload the page.');
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const made = await answer.json();
  tokens.set(userID, { token: made.token, until: Date.now() + FRESH });
  return made.token;
}

async function start() {
  const [{ People }, { Phones, newPhone }, { setUpSound }] =
    await Promise.all(['people', 'phones', 'sound'].map((part) => import(`${assets}/${part}.js`)));
  const tree = root.attachShadow({ mode: 'open' });
  const style = document.createElement('link');
  Object.assign(style, { rel: 'stylesheet', href: `${assets}/style.css` });
  const list = document.createElement('div');
  list.className = user ? 'single' : 'more-phones';
  tree.append(style, list);

  const ringer = setUpSound(byID('sound'));
  const people = new People();
  for (const { user_id, name: called } of USERS) people.add(user_id, called);
  const config = {
    app_id: Number(app),
    users: USERS,
    space: `console.${app}`,
    token,
    phonePath: ({ user_id, name: called }) => `/console/try/phone?${new URLSearchParams({ app, user: user_id, ...(called && { name: called }) })}`,
  };
  const title = document.title;
  let all = [];
  const onScreen = (phone) => {
    if (phone?.link.state === 'stopped') tokens.delete(phone.id); // it may be why the login was refused
    const ringing = all.filter(({ screen }) => screen === 'ringing');
    ringer.ring(ringing.length > 0);
    document.title = ringing.length > 0 ? `☎ ${ringing[0].label} is ringing` : title;
  };

  if (user) {
    people.add(user, name);
    const phone = newPhone({ config, people, user: { user_id: user, name }, device: 1, onScreen });
    all = [phone];
    list.append(phone.element);
    phone.connect();
    return;
  }
  const places = USERS.map(() => {
    const place = document.createElement('div');
    place.className = 'place';
    return place;
  });
  list.append(...places);
  const phones = new Phones({ config, people, places, more: list, onScreen });
  all = phones.all;
  phones.open();
  byID('add-phone').addEventListener('submit', (event) => {
    event.preventDefault();
    const fields = ['add-user', 'add-name'].map(byID);
    const [user_id, called] = fields.map(({ value }) => value.trim());
    try {
      sayFailure('');
      phones.add({ user_id, name: called }).element.scrollIntoView({ block: 'nearest' });
      for (const field of fields) field.value = '';
    } catch (error) {
      sayFailure(error.message);
    }
  });
}

function sayFailure(text) {
  const note = byID('phones-failure');
  note.hidden = !text;
  note.textContent = text;
}

start().catch((error) => sayFailure(`The phones could not start: ${error.message} Reload the page to try again.`));
