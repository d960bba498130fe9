import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { UserState } from '../../src/index.js';
import { Device, Server, until } from './server.js';

let server: Server;
before(async () => { server = await Server.start(); });
after(() => server.stop());

const devices: Device[] = [];
after(() => { for (const device of devices) device.close(); });
async function login(user: string, at = server.url): Promise<Device> {
  const device = new Device(at, user);
  devices.push(device);
  await device.connect();
  return device;
}

test('a general call: invite, ring, accept', async () => {
  const [alice, bob] = [await login('a1'), await login('b1')];
  const { call_id, error_users } = await alice.invite({ user_ids: ['b1', 'nobody'], timeout: 30, extended_data: 'video' });
  assert.deepEqual(error_users, [{ user_id: 'nobody', code: 6000281 }]);
  assert.ok(!alice.names().includes('call.created'), 'the event overtook the promise');
  const invited = await bob.event('call.invited');
  assert.equal(invited.call_id, call_id);
  assert.equal(invited.extended_data, 'video');
  assert.ok(invited.ring_remaining_ms > 0 && invited.ring_remaining_ms <= 30_000);
  await alice.event('call.users_changed', ({ users }) => users[0]?.state === UserState.Received); // sent by itself
  await bob.accept({ call_id, extended_data: 'coming' });
  await alice.event('call.users_changed', ({ users }) => users[0]?.state === UserState.Accepted && users[0].extended_data === 'coming');
  await until(() => alice.shownCalls.length === 0 && bob.shownCalls.length === 0);
});

test('cancel and timeout', async () => {
  const [alice, bob] = [await login('a2'), await login('b2')];
  const first = await alice.invite({ user_ids: ['b2'] });
  await bob.event('call.invited');
  await alice.cancel({ call_id: first.call_id, extended_data: 'never mind' });
  assert.equal((await bob.event('call.cancelled')).extended_data, 'never mind');
  const second = await alice.invite({ user_ids: ['b2'], timeout: 1 });
  assert.equal((await bob.event('call.timed_out')).call_id, second.call_id);
  await assert.rejects(bob.accept({ call_id: second.call_id }), { name: 'RingbackError', code: 6000276 });
});

test('an advanced call: more, join, quit, end, query', async () => {
  const [alice, bob, carol] = [await login('a3'), await login('b3'), await login('c3')];
  const { call_id } = await alice.invite({ user_ids: ['b3'], mode: 1 });
  await bob.event('call.invited');
  await bob.accept({ call_id });
  await bob.inviteMore({ call_id, user_ids: ['c3'] });
  assert.equal((await carol.event('call.invited')).inviter, 'b3');
  await carol.accept({ call_id });
  const left = await carol.quit({ call_id });
  assert.ok(left.quit_time_ms);
  const joined = await carol.join({ call_id });
  assert.equal(joined.users.find(({ user_id }) => user_id === 'c3')?.state, UserState.Accepted);
  await bob.end({ call_id, extended_data: 'bye' });
  const ended = await alice.event('call.ended');
  assert.equal(ended.operator, 'b3');
  const { calls } = await alice.query({ count: 1 });
  assert.equal(calls[0]?.call_id, call_id);
});

test('several devices: when one answers, the other stops', async () => {
  const [alice, phone, tab] = [await login('a4'), await login('b4'), await login('b4')];
  const { call_id } = await alice.invite({ user_ids: ['b4'] });
  await phone.event('call.invited');
  await tab.event('call.invited');
  await phone.accept({ call_id });
  assert.equal((await tab.event('call.answered_elsewhere')).answer, 'accepted');
  assert.ok(!phone.names().includes('call.answered_elsewhere'));
  await assert.rejects(tab.accept({ call_id }), { code: 6000276 });
});

test('an abort takes a request back', async () => {
  const alice = await login('a5');
  await assert.rejects(alice.query({}, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  const controller = new AbortController();
  const pending = alice.query({}, { signal: controller.signal });
  controller.abort();
  await assert.rejects(pending, { name: 'AbortError' });
  await alice.query();
});

test('a refused login', async () => {
  const bad = new Device(server.url, 'a6', { token: 'nonsense' });
  devices.push(bad);
  await assert.rejects(bad.connect(), { name: 'RingbackError', code: 6000101 });
  assert.equal(bad.state, 'idle');
  await assert.rejects(bad.query(), { code: 6000121 });
});

test('logout', async () => {
  const alice = await login('a7');
  await alice.logout();
  assert.equal((await alice.event('disconnected')).will_reconnect, false);
  assert.equal(alice.sessionID, undefined);
  await alice.connect();
});
