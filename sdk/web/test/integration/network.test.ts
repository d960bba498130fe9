import assert from 'node:assert/strict';
import { after, afterEach, test } from 'node:test';
import { UserState } from '../../src/index.js';
import type { ConnectionOptions } from '../../src/index.js';
import { Device, Proxy, Server, until } from './server.js';

const devices: Device[] = [];
const servers: Server[] = [];
const proxies: Proxy[] = [];
afterEach(() => { for (const device of devices.splice(0)) device.close(); });
after(async () => {
  for (const proxy of proxies) await proxy.stop();
  for (const server of servers) await server.stop();
});

async function serve(app?: string): Promise<Server> {
  const server = await Server.start(app);
  servers.push(server);
  return server;
}
async function proxied(server: Server): Promise<Proxy> {
  const proxy = await Proxy.start(server.port);
  proxies.push(proxy);
  return proxy;
}
async function login(at: string, user: string, options: Partial<ConnectionOptions> = {}): Promise<Device> {
  const device = new Device(at, user, options);
  devices.push(device);
  await device.connect();
  return device;
}

test('the server restarts in the middle of a ring', async () => {
  const server = await serve();
  const [alice, bob] = [await login(server.url, 'alice'), await login(server.url, 'bob')];
  const { call_id } = await alice.invite({ user_ids: ['bob'] });
  await bob.event('call.invited');
  await server.down();
  await bob.event('disconnected', ({ will_reconnect }) => will_reconnect);
  const accepted = bob.accept({ call_id }); // without a connection: it waits for one
  await server.up();
  await accepted;
  await alice.event('snapshot', ({ calls, ended }) => calls.length + ended.length > 0);
  await until(() => alice.shownCalls.length === 0);
  assert.equal(bob.seen.filter(([name, data]) => name === 'connected' && data.resumed).length, 1);
  // Alice learns of the answer by an event, or, if she came late, by the record.
  await until(() => alice.seen.some(([name, data]) =>
    (name === 'call.users_changed' ? data.users : name === 'snapshot' ? data.ended.flatMap((end: any) => end.call?.users ?? []) : [])
      .some((user: any) => user.user_id === 'bob' && user.state === UserState.Accepted)));
});

test('an invitation that ends during a cut is told with its reason', async () => {
  const server = await serve();
  const proxy = await proxied(server);
  const [alice, bob] = [await login(server.url, 'alice'), await login(proxy.url, 'bob')];
  const { call_id } = await alice.invite({ user_ids: ['bob'] });
  await bob.event('call.invited');
  proxy.cut();
  await bob.event('disconnected');
  await alice.cancel({ call_id });
  const unseen = await alice.invite({ user_ids: ['bob'] });
  await alice.cancel({ call_id: unseen.call_id });
  proxy.mode = 'open';
  const { ended, calls } = await bob.event('snapshot', ({ ended }) => ended.length > 0);
  assert.deepEqual(ended.map(({ call_id, reason, state }) => [call_id, reason, state]), [[call_id, 'caller_cancel', UserState.Cancelled]]);
  assert.deepEqual(calls, []);
  assert.equal(bob.names().filter((name) => name === 'call.invited').length, 1);
});

test('the caller learns after a cut who accepted', async () => {
  const server = await serve();
  const proxy = await proxied(server);
  const [alice, bob] = [await login(proxy.url, 'alice'), await login(server.url, 'bob')];
  const { call_id } = await alice.invite({ user_ids: ['bob'] });
  await bob.event('call.invited');
  proxy.cut();
  await alice.event('disconnected');
  await bob.accept({ call_id, extended_data: 'here' });
  proxy.mode = 'open';
  const { ended } = await alice.event('snapshot', ({ ended }) => ended.length > 0);
  assert.deepEqual(ended[0]?.call?.users.find(({ user_id }) => user_id === 'bob'), { user_id: 'bob', state: UserState.Accepted, extended_data: 'here' });
});

test('a dead socket is noticed within two heartbeats', async () => {
  const server = await serve();
  const proxy = await proxied(server);
  const alice = await login(proxy.url, 'alice');
  proxy.mode = 'silent';
  await alice.event('disconnected', ({ will_reconnect, reason }) => will_reconnect && reason.includes('silent'));
  proxy.mode = 'open';
  await until(() => alice.state === 'connected');
});

test('an invitation whose reply is lost makes one call', async () => {
  const server = await serve();
  const proxy = await proxied(server);
  const [alice, bob] = [await login(proxy.url, 'alice'), await login(server.url, 'bob')];
  let asked = false;
  bob.on('call.invited', () => { asked = true; });
  proxy.deaf = true; // the request is heard, and its reply is not
  const invited = alice.invite({ user_ids: ['bob'] });
  await until(() => asked);
  proxy.cut();
  proxy.deaf = false;
  proxy.mode = 'open';
  const { call_id } = await invited;
  assert.equal(bob.names().filter((name) => name === 'call.invited').length, 1);
  assert.equal((await bob.event('call.invited')).call_id, call_id);
  await bob.accept({ call_id });
});

test('a newer login ends the older session for good', async () => {
  const server = await serve('    login_policy: single');
  const older = await login(server.url, 'alice');
  await login(server.url, 'alice');
  await older.event('session.kicked');
  const { code, will_reconnect } = await older.event('disconnected');
  assert.deepEqual([code, will_reconnect], [4001, false]);
});

test('a session that is resumed elsewhere goes on there, and this device becomes one of its own', async () => {
  const server = await serve();
  const first = await login(server.url, 'alice');
  const session = first.sessionID ?? '';
  const second = await login(server.url, 'alice', { sessionID: session });
  assert.equal(second.sessionID, session);
  const { code } = await first.event('disconnected');
  assert.equal(code, 4002);
  await until(() => first.state === 'connected' && first.sessionID !== session);
  assert.equal(second.state, 'connected');
});
