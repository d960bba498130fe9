import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { UserState } from '../src/index.js';
import type { Call } from '../src/index.js';
import { ZIM } from '../src/zim/index.js';
import { ShownCalls } from '../src/zim/calls.js';
import { FakeSocket, settle } from './fake.js';

let zim: ZIM;
beforeEach(() => {
  FakeSocket.all = [];
  ZIM.setServer('http://h', { webSocket: FakeSocket });
  const made = ZIM.create(1);
  assert.ok(made);
  zim = made;
});
afterEach(() => {
  zim.destroy();
  const socket = FakeSocket.all.at(-1);
  if (socket?.ops().includes('logout')) socket.reply('logout', {});
  mock.restoreAll();
});

async function login(): Promise<FakeSocket> {
  const done = zim.login('alice', { userName: 'Alice', token: 't' });
  await settle();
  FakeSocket.last.welcome();
  await done;
  await settle();
  return FakeSocket.last;
}

function call(id: string, changes: Partial<Call> = {}): Call {
  return {
    call_id: id, version: 1, mode: 0, state: 1, caller: 'bob', inviter: 'bob', extended_data: '', timeout: 90, create_time_ms: 1, end_time_ms: 0,
    ring_remaining_ms: 1, users: [{ user_id: 'bob', state: 1, extended_data: '' }, { user_id: 'alice', state: 0, extended_data: '' }], ...changes,
  };
}

test('create makes one instance, for a valid app ID', () => {
  assert.equal(ZIM.create({ appID: 2 }), null);
  zim.destroy();
  assert.equal(ZIM.getInstance(), null);
  for (const bad of [0, -1, 1.5, NaN, null, undefined, {}]) assert.equal(ZIM.create(bad as never), null);
  assert.match(ZIM.getVersion(), /^\d+\.\d+\.\d+$/);
  assert.equal(ZIM.setGeofencingConfig([1], 1), true);
  assert.equal(ZIM.setAdvancedConfig('x', 'y'), undefined);
  zim.setLogConfig({ logLevel: 'debug' });
});

test('a second listener replaces the first; off removes it', async () => {
  const heard: string[] = [];
  const socket = await login();
  zim.on('tokenWillExpire', () => heard.push('first'));
  zim.on('tokenWillExpire', (from, { second }) => heard.push(`second ${second} ${from === zim}`));
  socket.event('token.expiring', { seconds_left: 30 });
  zim.off('tokenWillExpire', () => {});
  socket.event('token.expiring', { seconds_left: 29 });
  zim.off('tokenWillExpire');
  socket.event('token.expiring', { seconds_left: 28 });
  await settle();
  assert.deepEqual(heard, ['second 30 true', 'second 29 true']);
});

test('nothing throws synchronously, whatever it is given', async () => {
  await login();
  for (const name of ['login', 'callInvite', 'callingInvite', 'callCancel', 'callAccept', 'callReject', 'callJoin', 'callQuit', 'callEnd',
    'queryCallInvitationList', 'renewToken', 'sendMessage', 'joinRoom', 'createGroup', 'addFriend', 'beginRoomAttributesBatchOperation'] as const) {
    const result = (zim[name] as (...args: unknown[]) => Promise<unknown>)();
    assert.ok(result instanceof Promise, name);
    result.catch(() => {});
  }
  await assert.rejects(zim.login(undefined as never, undefined as never), (error: any) => error.code === 6000001);
});

test('the end of a session, by what ended it', async () => {
  const states: number[][] = [];
  zim.on('connectionStateChanged', (_, { state, event, extendedData }) => {
    states.push([state, event]);
    assert.equal(extendedData, '{}');
  });
  for (const [code, event] of [[4001, 4], [4004, 5], [1000, 6], [4000, 3]] as const) {
    const socket = await login();
    states.length = 0;
    socket.fail(code);
    await settle();
    assert.deepEqual(states, [[0, event]], `after ${code}`);
  }
  const socket = await login();
  states.length = 0;
  socket.fail(1001);
  await settle();
  assert.deepEqual(states, [[3, 3]]);
});

test('a login that nobody answers', async () => {
  const states: number[][] = [];
  zim.on('connectionStateChanged', (_, { state, event }) => states.push([state, event]));
  const done = zim.login('alice', { token: 't' });
  await settle();
  FakeSocket.last.fail();
  await assert.rejects(done, (error: any) => error.code === 6000104);
  await settle();
  assert.deepEqual(states, [[1, 1], [0, 2]]);
});

test('an invitation whose reply and event were lost is told in order', async () => {
  mock.method(Math, 'random', () => 0); // the shortest pause
  const first = await login();
  const heard: string[] = [];
  zim.on('callInvitationCreated', () => heard.push('created'));
  zim.on('callUserStateChanged', (_, { callUserList }) => heard.push(callUserList.map(({ userID, state }) => userID + state).join()));
  zim.on('callInvitationAccepted', (_, { invitee }) => heard.push(`accepted ${invitee}`));
  const sent = zim.callInvite(['bob'], { timeout: 90, mode: 0, extendedData: '' }).then(() => heard.push('promise'));
  await settle();
  first.fail();
  while (FakeSocket.all.length < 2) await settle();
  const live = call('7', { caller: 'alice', inviter: 'alice', users: [{ user_id: 'alice', state: 1, extended_data: '' }, { user_id: 'bob', state: 5, extended_data: '' }] });
  await settle();
  FakeSocket.last.welcome({ resumed: true, calls: [live] });
  await settle();
  assert.deepEqual(heard, []);
  FakeSocket.last.reply('call.invite', { call_id: '7', version: 1, timeout: 90, create_time_ms: 1, error_users: [] });
  await sent;
  await settle();
  assert.deepEqual(heard, ['promise', 'created']);
  // Bob accepts while the answer to the sync is on its way.
  FakeSocket.last.event('call.users_changed', { call_id: '7', version: 2, users: [{ user_id: 'bob', state: 1, extended_data: '' }] });
  await settle();
  assert.deepEqual(heard.slice(2), ['bob1', 'accepted bob']);
});

// The mapping from what a device missed, case by case.
const alice = (state: number) => ({ user_id: 'alice', state, extended_data: '' });
for (const { name, shown, snapshot, want } of [
  { name: 'cancelled', shown: call('1'), snapshot: { ended: [{ state: 3, reason: 'caller_cancel' }] }, want: ['callUserStateChanged alice3', 'callInvitationCancelled'] },
  { name: 'caller left', shown: call('1'), snapshot: { ended: [{ state: 3, reason: 'caller_left' }] }, want: ['callUserStateChanged alice3', 'callInvitationCancelled'] },
  { name: 'timed out', shown: call('1'), snapshot: { ended: [{ state: 6, reason: 'timeout' }] }, want: ['callUserStateChanged alice6', 'callInvitationTimeout'] },
  { name: 'accepted elsewhere', shown: call('1'), snapshot: { ended: [{ state: 1, reason: 'answered_elsewhere' }] }, want: ['callUserStateChanged alice1'] },
  { name: 'rejected elsewhere, advanced', shown: call('1', { mode: 1 }), snapshot: { ended: [{ state: 2, reason: 'answered_elsewhere' }] }, want: ['callUserStateChanged alice2'] },
  { name: 'ended while it rang, advanced', shown: call('1', { mode: 1 }), snapshot: { ended: [{ state: 0, reason: 'ended' }] }, want: ['callInvitationEnded'] },
  { name: 'timed out, advanced', shown: call('1', { mode: 1 }), snapshot: { ended: [{ state: 6, reason: 'timeout' }] }, want: ['callUserStateChanged alice6', 'callInvitationTimeout'] },
  { name: 'unknown to the server', shown: call('1'), snapshot: { ended: [{ state: 0, reason: 'unknown' }] }, want: ['callInvitationTimeout'] },
  {
    name: 'all left, advanced', shown: call('1', { mode: 1, users: [alice(1)] }),
    snapshot: { ended: [{ state: 7, reason: 'all_left', call: call('1', { users: [alice(7)], end_time_ms: 5 }) }] },
    want: ['callUserStateChanged alice7', 'callInvitationEnded'],
  },
  { name: 'quit elsewhere', shown: call('1', { mode: 1, users: [alice(1)] }), snapshot: { ended: [{ state: 7, reason: 'quit' }] }, want: ['callUserStateChanged alice7'] },
  { name: 'still ringing', shown: call('1'), snapshot: { calls: [call('1')] }, want: [] },
  { name: 'rings anew', shown: call('1', { mode: 1, users: [alice(2)] }), snapshot: { calls: [call('1', { mode: 1 })] }, want: ['callInvitationReceived'] },
  { name: 'rings, not shown before', shown: undefined, snapshot: { calls: [call('1')] }, want: ['callInvitationReceived'] },
  { name: 'over, not shown before', shown: undefined, snapshot: { ended: [{ state: 3, reason: 'caller_cancel' }] }, want: [] },
  { name: 'in a call of another device', shown: undefined, snapshot: { calls: [call('1', { mode: 1, users: [alice(1)] })] }, want: [] },
]) {
  test(`missed: ${name}`, () => {
    const told: string[] = [];
    let quiet = true;
    const calls = new ShownCalls('alice', (event, data) => {
      if (quiet) return;
      const users = event === 'callUserStateChanged' ? ` ${(data as { callUserList: { userID: string; state: number }[] }).callUserList.map(({ userID, state }) => userID + state).join()}` : '';
      told.push(event + users);
    });
    if (shown) calls.invited(shown);
    quiet = false;
    const { calls: live = [], ended = [] } = snapshot as { calls?: Call[]; ended?: { state: number; reason: string; call?: Call }[] };
    calls.snapshot({ calls: live, ended: ended.map((end) => ({ call_id: '1', version: 2, ...end })) });
    assert.deepEqual(told, want);
  });
}

test('events of invitations that were never shown are not told', () => {
  const calls = new ShownCalls('alice', (event) => assert.fail(event));
  calls.usersChanged({ call_id: '1', version: 1, users: [alice(UserState.Accepted)] });
  calls.cancelled({ call_id: '1', version: 1, mode: 0, inviter: 'bob', extended_data: '', reason: 'caller_cancel' });
  calls.timedOut({ call_id: '1', version: 1, mode: 0 });
  calls.ended({ call_id: '1', version: 1, mode: 1, caller: 'bob', operator: '', extended_data: '', end_time_ms: 1, reason: 'ended' });
});
