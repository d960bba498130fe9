import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { backoff, RingbackClient, UserState } from '../src/index.js';
import type { Call, ConnectionOptions } from '../src/index.js';
import { FakeSocket, settle } from './fake.js';

beforeEach(() => {
  FakeSocket.all = [];
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_700_000_000_000 });
  mock.method(performance, 'now', () => Date.now());
});
afterEach(() => {
  client?.close();
  mock.timers.reset();
  mock.restoreAll();
});

let client: RingbackClient;
let seen: [string, any][];

function ringing(id: string, version: number, state: number = UserState.Inviting): Call {
  return {
    call_id: id, version, mode: 0, state: 1, caller: 'bob', inviter: 'bob', extended_data: '', timeout: 90, create_time_ms: 1, end_time_ms: 0,
    ring_remaining_ms: 90_000, users: [{ user_id: 'bob', state: 1, extended_data: '' }, { user_id: 'alice', state, extended_data: '' }],
  };
}

async function login(options: Partial<ConnectionOptions> = {}): Promise<FakeSocket> {
  client = new RingbackClient({ server: 'http://h', appID: 1, userID: 'alice', token: 't', webSocket: FakeSocket, ...options });
  seen = [];
  for (const name of ['connected', 'disconnected', 'snapshot', 'call.created', 'call.invited', 'call.users_changed', 'call.cancelled', 'call.timed_out', 'call.ended'] as const) {
    client.on(name, (data) => seen.push([name, data]));
  }
  const connected = client.connect();
  await settle();
  FakeSocket.last.welcome();
  await connected;
  await settle();
  seen.length = 0;
  return FakeSocket.last;
}

function names(): string[] {
  return seen.map(([name]) => name);
}

// reconnect waits out the pause and opens the next socket.
async function reconnect(): Promise<FakeSocket> {
  const before = FakeSocket.all.length;
  for (let n = 0; n < 40 && FakeSocket.all.length === before; n++) {
    mock.timers.tick(500);
    await settle();
  }
  assert.equal(FakeSocket.all.length, before + 1);
  return FakeSocket.last;
}

test('the pause before an attempt is drawn from 0.5 s up to a ceiling of 2 s to 15 s', () => {
  for (let attempt = 0; attempt < 20; attempt++) {
    assert.equal(backoff(attempt, () => 0), 500);
    assert.equal(backoff(attempt, () => 1), Math.min(15_000, 2000 * 2 ** attempt));
  }
});

test('the session is resumed with the calls that are shown', async () => {
  const first = await login();
  first.event('call.invited', ringing('1', 1));
  first.fail();
  await settle();
  assert.deepEqual(names(), ['call.invited', 'disconnected']);
  const second = await reconnect();
  second.open();
  assert.deepEqual(second.request('login').body, { app_id: 1, user_id: 'alice', token: 't', platform: 'WEB', session_id: 's1', known_calls: ['1'] });
});

test('attempts that fail are made again, ever later', async () => {
  mock.method(Math, 'random', () => 1);
  const first = await login();
  first.fail();
  for (const pause of [2000, 4000, 8000, 15_000, 15_000]) {
    const before = FakeSocket.all.length;
    mock.timers.tick(pause - 1);
    await settle();
    assert.equal(FakeSocket.all.length, before, `too early after ${pause}`);
    mock.timers.tick(1);
    await settle();
    assert.equal(FakeSocket.all.length, before + 1);
    FakeSocket.last.fail();
  }
});

test('old news is dropped, a snapshot counts as it is', async () => {
  const socket = await login({ manualReceived: true });
  socket.event('call.invited', ringing('1', 3));
  socket.event('call.invited', ringing('1', 3));
  socket.event('call.users_changed', { call_id: '1', version: 2, users: [] });
  for (let n = 0; n < 2; n++) socket.event('call.users_changed', { call_id: '1', version: 3, users: [] }); // received keeps the version
  await settle();
  assert.deepEqual(names(), ['call.invited', 'call.users_changed', 'call.users_changed']);
  void client.sync();
  socket.reply('call.sync', { calls: [ringing('1', 1)], ended: [] });
  socket.event('call.timed_out', { call_id: '1', version: 2, mode: 0 });
  await settle();
  assert.deepEqual(names().slice(3), ['snapshot', 'call.timed_out']);
});

test('how a call ended is told once', async () => {
  const first = await login({ manualReceived: true });
  const end = (id: string) => ({ call_id: id, version: 2, state: 6, reason: 'timeout' });
  const told = () => seen.filter(([name]) => name === 'snapshot').map(([, { ended }]) => ended.map(({ call_id }: { call_id: string }) => call_id));
  for (const id of ['1', '2', '3']) first.event('call.invited', ringing(id, 1));
  const synced = client.sync(); // on its way when the first one ends
  first.event('call.timed_out', { call_id: '1', version: 2, mode: 0 });
  first.fail();
  const second = await reconnect();
  second.welcome({ resumed: true, ended: [end('2')] });
  second.reply('call.sync', { calls: [], ended: [end('1'), end('2'), end('3'), end('of an earlier page')] });
  await settle();
  assert.deepEqual(told(), [['2'], ['3', 'of an earlier page']]);
  assert.deepEqual((await synced).ended.map(({ call_id }) => call_id), ['3', 'of an earlier page']);
});

test('events that come before the reply to the login are looked at after it', async () => {
  client = new RingbackClient({ server: 'http://h', appID: 1, userID: 'alice', token: 't', webSocket: FakeSocket, manualReceived: true });
  const order: string[] = [];
  client.on('snapshot', () => order.push('snapshot'));
  client.on('call.invited', ({ call_id }) => order.push(call_id));
  const connected = client.connect().then(() => order.push('login'));
  await settle();
  const socket = FakeSocket.last;
  socket.open();
  socket.event('call.invited', ringing('1', 1)); // in the snapshot
  socket.event('call.invited', ringing('2', 1));
  socket.welcome({ calls: [ringing('1', 1)] });
  await connected;
  await settle();
  assert.deepEqual(order, ['login', 'snapshot', '2']);
});

test('a promise settles, and what awaits it runs, before the events of its request', async () => {
  const socket = await login();
  const order: string[] = [];
  client.on('call.created', () => order.push('event'));
  const app = async () => {
    const layer = async () => await (async () => await client.invite({ user_ids: ['bob'] }))();
    await layer();
    for (let n = 0; n < 50; n++) await null;
    order.push('promise');
  };
  const done = app();
  socket.reply('call.invite', { call_id: '1', version: 1, timeout: 90, create_time_ms: 1, error_users: [] });
  socket.event('call.created', ringing('1', 1)); // at once, as when both come in one segment
  await done;
  await settle();
  assert.deepEqual(order, ['promise', 'event']);
});

test('requests that are safe to repeat are sent again, others fail', async () => {
  const first = await login();
  const invited = client.invite({ user_ids: ['bob'] });
  const accepted = client.accept({ call_id: '1' });
  const joined = client.join({ call_id: '2' });
  const invite = first.request('call.invite');
  assert.match((invite.body as { request_id: string }).request_id, /^[0-9a-f]{32}$/);
  first.fail();
  await assert.rejects(joined, { name: 'ConnectionLostError', code: 6000104 });
  const late = client.query(); // waits for a connection
  const second = await reconnect();
  second.welcome({ resumed: true, calls: [ringing('1', 2, UserState.Received)] });
  assert.deepEqual(second.ops(), ['login', 'call.invite', 'call.accept', 'call.query']);
  assert.deepEqual(second.request('call.invite'), invite);
  await settle();
  assert.deepEqual(names(), ['disconnected', 'connected'], 'the snapshot waits for what may have caused it');
  second.reply('call.invite', { call_id: '9', version: 1, timeout: 90, create_time_ms: 1, error_users: [] });
  second.reply('call.accept', { call_id: '1', version: 3 });
  second.reply('call.query', { calls: [], next_flag: 0 });
  await Promise.all([invited, accepted, late]);
  await settle();
  assert.deepEqual(names(), ['disconnected', 'connected', 'snapshot']);
  assert.ok(second.ops().includes('call.sync'), 'who was invited may have answered meanwhile');
});

test('a repeat that is refused in another session leaves the outcome open', async () => {
  const first = await login();
  const accepted = client.accept({ call_id: '1' });
  first.fail();
  const second = await reconnect();
  second.welcome({ resumed: false, session_id: 's2' });
  second.refuse('call.accept', 6000276);
  await assert.rejects(accepted, { name: 'ConnectionLostError', code: 6000276 });
});

test('a request that gets no reply fails in time', async () => {
  await login();
  const query = client.query();
  mock.timers.tick(15_000);
  await assert.rejects(query, { code: 6000105 });
});

test('an invitation that is over before it is told does not ring', async () => {
  const first = await login();
  mock.timers.setTime(Date.now() + 60_000); // the device slept
  first.event('call.invited', ringing('1', 1));
  first.event('call.invited', ringing('2', 1));
  first.event('call.timed_out', { call_id: '1', version: 2, mode: 0 });
  await settle();
  assert.deepEqual(names(), [], 'nothing is told until the truth is known');
  assert.ok(!first.ops().includes('call.received'));
  first.reply('call.sync', { calls: [ringing('2', 1)], ended: [] });
  await settle();
  assert.deepEqual(seen.filter(([name]) => name === 'call.invited').map(([, { call_id }]) => call_id), ['2']);
  assert.deepEqual(first.request('call.received').body, { call_id: '2' });
});

test('after a sleep on a dead connection nothing is told before the next login', async () => {
  const first = await login();
  mock.timers.setTime(Date.now() + 60_000);
  first.event('call.invited', ringing('1', 1));
  first.fail();
  await settle();
  assert.deepEqual(names(), ['disconnected']);
  const second = await reconnect();
  second.open();
  assert.deepEqual((second.request('login').body as { known_calls: string[] }).known_calls, ['1']);
  second.welcome({ resumed: true, ended: [{ call_id: '1', version: 2, state: 6, reason: 'timeout' }] });
  second.reply('call.sync', { calls: [], ended: [] }); // of before, sent again
  await settle();
  assert.ok(!names().includes('call.invited'));
  assert.ok(names().includes('snapshot'));
});

// pass lets time go by evenly; a single tick would look like a sleep.
function pass(ms: number): void {
  for (let n = 0; n < ms; n += 100) mock.timers.tick(100);
}

test('a silent server is asked, and given up within two heartbeats', async () => {
  const socket = await login();
  pass(8_000);
  assert.equal(socket.sent.at(-1)?.op, 'ping');
  socket.say({ body: { server_time_ms: 1 } });
  pass(17_900);
  assert.equal(client.state, 'connected');
  assert.equal(socket.ops().filter((op) => op === 'ping').length, 2);
  pass(200);
  assert.equal(client.state, 'reconnecting');
});

test('a timer that is late says nothing of the peer: it is asked', async () => {
  const socket = await login();
  mock.timers.tick(1_000_000); // suspended
  assert.equal(client.state, 'connected');
  assert.deepEqual(socket.ops(), ['login', 'call.sync']);
  socket.event('call.invited', ringing('1', 1)); // had waited in the socket
  await settle();
  assert.deepEqual(names(), []);
  socket.event('call.cancelled', { call_id: '1', version: 2, mode: 0, inviter: 'bob', extended_data: '', reason: 'caller_cancel' });
  socket.reply('call.sync', { calls: [], ended: [] });
  await settle();
  assert.ok(!names().includes('call.invited'));
  mock.timers.tick(1_000_000);
  mock.timers.tick(5_000);
  await settle();
  assert.equal(client.state, 'reconnecting', 'no answer');
});

test('which close codes are final', async () => {
  for (const [code, state] of [
    [1001, 'reconnecting'], [1006, 'reconnecting'], [1011, 'reconnecting'], [4002, 'reconnecting'], [4008, 'reconnecting'], [4029, 'reconnecting'],
    [1000, 'idle'], [1009, 'idle'], [4000, 'idle'], [4001, 'idle'], [4003, 'idle'], [4004, 'idle'],
  ] as const) {
    const socket = await login();
    socket.fail(code);
    assert.equal(client.state, state, `after ${code}`);
    await settle();
    assert.deepEqual(seen.map(([name, { code, will_reconnect }]) => [name, code, will_reconnect]), [['disconnected', code, state === 'reconnecting']]);
    assert.equal(client.sessionID, [1000, 4001, 4002].includes(code) ? undefined : 's1', `after ${code}`);
    client.close();
  }
});

test('with a source of tokens an expired one is not final', async () => {
  let made = 0;
  const socket = await login({ token: async () => `t${++made}` });
  socket.fail(4004);
  const next = await reconnect();
  next.open();
  assert.equal((next.request('login').body as { token: string }).token, 't2');
  next.refuse('login', 6000007); // the server is busy
  assert.equal(client.state, 'reconnecting');
  const third = await reconnect();
  third.open();
  third.refuse('login', 6000101);
  assert.equal(client.state, 'idle');
});

test('a listener that throws stops nothing', async () => {
  const socket = await login();
  const reported = mock.method(console, 'error', () => {});
  client.on('call.timed_out', () => { throw new Error('of the app'); });
  let heard = 0;
  client.on('call.timed_out', () => heard++);
  socket.event('call.invited', ringing('1', 1));
  socket.event('call.timed_out', { call_id: '1', version: 2, mode: 0 });
  await settle();
  assert.equal(heard, 1);
  assert.equal(reported.mock.callCount(), 1);
});

test('bad input gives an error that says what is wrong', async () => {
  for (const [server, message] of [['', /is not a URL/], ['ftp://h', /must begin with http/]] as const) {
    const bad = new RingbackClient({ server, appID: 1, userID: 'alice', token: 't', webSocket: FakeSocket });
    await assert.rejects(bad.connect(), { code: 6000104, message });
  }
  await login();
  const loop: Record<string, unknown> = {};
  loop['loop'] = loop;
  await assert.rejects(client.invite({ user_ids: ['bob'], push: loop }), { code: 6000001 });
  await assert.rejects(client.invite({ user_ids: ['bob'], extended_data: 'x'.repeat(70_000) }), { code: 6000001, message: /65536 bytes/ });
});

test('a frame that is no frame ends the connection, not the client', async () => {
  const socket = await login();
  socket.onmessage?.({ data: '<html>' } as never);
  assert.equal(client.state, 'reconnecting');
  const next = await reconnect();
  next.welcome({ resumed: true });
  next.event('call.invited', null);
  next.event('of.the.future', { x: 1 });
  next.event('call.cancelled', { call_id: '1' });
  await settle();
  assert.notEqual(client.state, 'idle');
});

test('connect can be aborted, and tried again', async () => {
  client = new RingbackClient({ server: 'http://h', appID: 1, userID: 'alice', token: 't', webSocket: FakeSocket });
  const controller = new AbortController();
  const first = client.connect(controller.signal);
  await settle();
  controller.abort();
  await assert.rejects(first, { name: 'AbortError' });
  assert.equal(FakeSocket.last.readyState, 3);
  const second = client.connect();
  await assert.rejects(client.connect(), { code: 6000111 });
  mock.timers.tick(10_000);
  await assert.rejects(second, { code: 6000105 });
});

// A browser, as far as the SDK looks at it.
function browser(t: { after(run: () => void): void }): { document: EventTarget & { visibilityState: string }; window: EventTarget } {
  const fake = { document: Object.assign(new EventTarget(), { visibilityState: 'visible' }), window: new EventTarget() };
  Object.assign(globalThis, fake);
  t.after(() => {
    client.close();
    for (const name of Object.keys(fake)) delete (globalThis as Record<string, unknown>)[name];
  });
  return fake;
}

test('a tab that is shown again looks whether its connection is alive', async (t) => {
  const { document, window } = browser(t);
  const socket = await login();
  document.visibilityState = 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
  assert.deepEqual(socket.ops(), ['login']);
  document.visibilityState = 'visible';
  document.dispatchEvent(new Event('visibilitychange'));
  window.dispatchEvent(new Event('pageshow')); // often together
  assert.deepEqual(socket.ops(), ['login', 'call.sync']);
  socket.reply('call.sync', { calls: [], ended: [] });
  await settle();
  document.dispatchEvent(new Event('resume'));
  assert.deepEqual(socket.ops(), ['login', 'call.sync', 'call.sync']);
  mock.timers.tick(5_000);
  await settle();
  assert.equal(client.state, 'reconnecting');
});

test('a network that is back cuts the pause short', async (t) => {
  const { window } = browser(t);
  mock.method(Math, 'random', () => 1);
  const socket = await login();
  socket.fail();
  window.dispatchEvent(new Event('online'));
  window.dispatchEvent(new Event('online'));
  await settle();
  assert.equal(FakeSocket.all.length, 2);
  FakeSocket.last.welcome({ resumed: true });
  client.close();
  window.dispatchEvent(new Event('online'));
  await settle();
  assert.equal(FakeSocket.all.length, 2, 'a closed client stays closed');
});
