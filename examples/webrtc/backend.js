// What your own backend provides. Here it is the page of ringback dev, which
// hands out login tokens to anybody on this machine: replace it by yours.

// server is where Ringback is.
export const server = location.origin;

// settings resolves to the ID of the app and to people who can be rung.
export async function settings() {
  const { app_id, users } = await ask('/demo/config.json');
  return { appID: app_id, people: users.map(({ user_id }) => user_id) };
}

// loginToken resolves to a token for a user. Your backend makes it for the
// user who is logged in, whoever the page says he is.
export async function loginToken(user) {
  const { token } = await ask('/demo/token', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user_id: user }),
  });
  return token;
}

async function ask(path, options) {
  const response = await fetch(path, options).catch(() => { throw new Error('The server does not answer.'); });
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response.json();
}
