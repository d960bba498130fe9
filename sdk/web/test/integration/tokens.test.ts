import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ConnectionOptions } from '../../src/index.js';
import { Device, Server, token, until } from './server.js';

let server: Server;
const devices: Device[] = [];
before(async () => { server = await Server.start(); });
after(async () => {
  for (const device of devices) device.close();
  await server.stop();
});

async function login(user: string, options: Partial<ConnectionOptions>): Promise<Device> {
  const device = new Device(server.url, user, options);
  devices.push(device);
  await device.connect();
  return device;
}

test('the token runs out, and is renewed', async () => {
  let made = 0;
  const alice = await login('alice', { token: () => token('alice', made++ === 0 ? 33 : 3600) });
  const bob = await login('bob', { token: token('bob', 33) });
  await alice.event('token.expiring');
  const { seconds_left } = await bob.event('token.expiring');
  assert.ok(seconds_left <= 30);
  assert.equal(made, 2);
  await bob.renewToken(token('bob'));
  await Promise.all([alice.query(), bob.query()]);
  await assert.rejects(bob.renewToken('nonsense'), { code: 6000103 });
});

test('a token that is not renewed ends the session until there is a new one', async () => {
  const carol = await login('carol', { token: token('carol', 33) });
  const { code } = await until(() => carol.seen.find(([name, data]) => name === 'disconnected' && !data.will_reconnect)?.[1]);
  assert.equal(code, 4004);
  assert.equal(carol.state, 'idle');
  const session = carol.sessionID;
  carol.setToken(token('carol'));
  const { session_id, resumed } = await carol.connect();
  assert.deepEqual([session_id, resumed], [session, true]);
});
