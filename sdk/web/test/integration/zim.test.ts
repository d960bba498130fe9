import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { ZIM, ZIMCallInvitationMode, ZIMCallUserState, ZIMConnectionEvent, ZIMConnectionState } from '../../src/zim/index.js';
import type { ZIMEventData, ZIMEventHandler } from '../../src/zim/index.js';
import { Device, Proxy, Server, token, until } from './server.js';

const NAMES: (keyof ZIMEventData)[] = [
  'connectionStateChanged', 'tokenWillExpire', 'error', 'callInvitationCreated', 'callInvitationReceived', 'callInvitationCancelled',
  'callInvitationTimeout', 'callInvitationEnded', 'callUserStateChanged', 'callInvitationAccepted', 'callInvitationRejected',
  'callInviteesAnsweredTimeout',
];

let server: Server;
let proxy: Proxy;
before(async () => {
  server = await Server.start();
  proxy = await Proxy.start(server.port);
});
after(async () => {
  await proxy.stop();
  await server.stop();
});

const open: { close(): void }[] = [];
afterEach(() => {
  ZIM.getInstance()?.destroy();
  for (const one of open.splice(0)) one.close();
  proxy.mode = 'open';
});

class Phone {
  readonly zim: ZIM;
  readonly seen: [string, any][] = [];

  constructor(at = server.url) {
    ZIM.setServer(at);
    const zim = ZIM.create({ appID: 1 });
    assert.ok(zim);
    this.zim = zim;
    for (const name of NAMES) {
      zim.on(name, ((from: ZIM, data: unknown) => {
        assert.equal(from, zim);
        this.seen.push([name, data]);
      }) as ZIMEventHandler[typeof name]);
    }
  }

  static async login(user: string, at?: string): Promise<Phone> {
    const phone = new Phone(at);
    await phone.zim.login(user, { userName: user, token: token(user), isOfflineLogin: false, customStatus: '', customStatusDuration: 0 });
    return phone;
  }

  async event(name: string, condition: (data: any) => boolean = () => true): Promise<any> {
    return (await until(() => this.seen.find(([seen, data]) => seen === name && condition(data))))[1];
  }

  calls(): string[] {
    return this.seen.map(([name]) => name).filter((name) => name.startsWith('call'));
  }
}

async function other(user: string): Promise<Device> {
  const device = new Device(server.url, user);
  open.push(device);
  await device.connect();
  return device;
}

test('an inviter', async () => {
  const [phone, bob, carol] = [await Phone.login('alice'), await other('bob'), await other('carol')];
  assert.equal(ZIM.create(1), null);
  assert.equal(ZIM.getInstance(), phone.zim);
  const sent = await phone.zim.callInvite(['bob', 'carol', 'nobody'], { timeout: 30, mode: ZIMCallInvitationMode.Advanced, extendedData: 'x' });
  assert.deepEqual(phone.calls(), [], 'an event overtook the promise');
  assert.deepEqual(sent, { callID: sent.callID, timeout: 30, errorUserList: [{ userID: 'nobody', reason: 6000281 }] });
  const created = await phone.event('callInvitationCreated');
  assert.deepEqual(Object.keys(created).sort(), ['callID', 'callUserList', 'caller', 'createTime', 'extendedData', 'mode', 'timeout']);
  await bob.event('call.invited');
  await bob.accept({ call_id: sent.callID, extended_data: 'yes' });
  assert.deepEqual(await phone.event('callInvitationAccepted'), { callID: sent.callID, invitee: 'bob', extendedData: 'yes' });
  await phone.event('callUserStateChanged', ({ callUserList: [user] }) => user.userID === 'bob' && user.state === ZIMCallUserState.Accepted);
  await carol.reject({ call_id: sent.callID });
  await phone.event('callInvitationRejected', ({ invitee }) => invitee === 'carol');
  const more = await phone.zim.callingInvite(['carol'], sent.callID, {});
  assert.deepEqual(more, { callID: sent.callID, errorUserList: [] });
  await assert.rejects(phone.zim.callCancel(['bob'], sent.callID, { extendedData: '' }), ({ code }) => code === 6000271);
  const cancelled = await phone.zim.callCancel(['carol', 'bob'], sent.callID, { extendedData: '' });
  assert.deepEqual(cancelled, { callID: sent.callID, errorInvitees: ['bob'] });
  const ended = await phone.zim.callEnd(sent.callID, { extendedData: 'bye' });
  assert.deepEqual(Object.keys(ended).sort(), ['acceptTime', 'callID', 'createTime', 'endTime']);
  const end = await phone.event('callInvitationEnded');
  assert.deepEqual([end.operatedUserID, end.extendedData, end.caller], ['alice', 'bye', 'alice']);
  const { callList, nextFlag } = await phone.zim.queryCallInvitationList({ count: 1 });
  assert.equal(callList[0]?.callID, sent.callID);
  assert.ok(nextFlag >= 0);
});

test('invitees who do not answer', async () => {
  const [phone] = [await Phone.login('alice'), await other('bob')];
  const { callID } = await phone.zim.callInvite(['bob'], { timeout: 1, mode: 0, extendedData: '' });
  assert.deepEqual(await phone.event('callInviteesAnsweredTimeout'), { callID, invitees: ['bob'] });
});

test('an invitee', async () => {
  const [phone, bob] = [await Phone.login('alice'), await other('bob')];
  const { call_id: callID } = await bob.invite({ user_ids: ['alice'], extended_data: 'hi' });
  const received = await phone.event('callInvitationReceived');
  assert.deepEqual([received.callID, received.inviter, received.caller, received.extendedData, received.timeout], [callID, 'bob', 'bob', 'hi', 90]);
  await bob.event('call.users_changed', ({ users }) => users.some(({ state }) => state === ZIMCallUserState.Received));
  await bob.cancel({ call_id: callID, extended_data: 'sorry' });
  assert.deepEqual(await phone.event('callInvitationCancelled'), { callID, mode: 0, inviter: 'bob', extendedData: 'sorry' });
  await assert.rejects(phone.zim.callAccept(callID, { extendedData: '' }), (error: any) => {
    assert.deepEqual(Object.keys(error).sort(), ['code', 'message']);
    return error.code === 6000273;
  });
  const second = await bob.invite({ user_ids: ['alice'], timeout: 1 });
  assert.deepEqual(await phone.event('callInvitationTimeout'), { callID: second.call_id, mode: 0 });
  const third = await bob.invite({ user_ids: ['alice'], mode: 1 });
  await phone.event('callInvitationReceived', ({ callID }) => callID === third.call_id);
  assert.deepEqual(await phone.zim.callAccept(third.call_id, { extendedData: '' }), { callID: third.call_id });
  const quit = await phone.zim.callQuit(third.call_id, { extendedData: '' });
  assert.deepEqual(Object.keys(quit).sort(), ['acceptTime', 'callID', 'createTime', 'quitTime']);
  const joined = await phone.zim.callJoin(third.call_id, { extendedData: 'again' });
  assert.equal(joined.callUserList.find(({ userID }) => userID === 'alice')?.state, ZIMCallUserState.Accepted);
  const before = phone.seen.length;
  assert.deepEqual(await phone.zim.callReject(second.call_id, { extendedData: '' }).catch(({ code }) => code), 6000276);
  assert.ok(phone.seen.slice(before).every(([name]) => name === 'callUserStateChanged'));
});

test('the other device of an invitee who answers', async () => {
  const [phone, tab, bob] = [await Phone.login('alice'), await other('alice'), await other('bob')];
  const { call_id: callID } = await bob.invite({ user_ids: ['alice'] });
  await phone.event('callInvitationReceived');
  await tab.event('call.invited');
  await tab.reject({ call_id: callID });
  const { callUserList } = await phone.event('callUserStateChanged', ({ callUserList }) => callUserList[0].state === ZIMCallUserState.Rejected);
  assert.equal(callUserList[0].userID, 'alice');
});

test('a cut of the network', async () => {
  const [phone, bob, carol] = [await Phone.login('alice', proxy.url), await other('bob'), await other('carol')];
  const ringing = await bob.invite({ user_ids: ['alice'] });
  await phone.event('callInvitationReceived');
  const { callID } = await phone.zim.callInvite(['carol', 'bob'], { timeout: 60, mode: 1, extendedData: '' });
  await carol.event('call.invited');
  await phone.event('callUserStateChanged', ({ callUserList }) => callUserList.some(({ userID, state }: any) => userID === 'bob' && state === 5));
  await phone.event('callUserStateChanged', ({ callUserList }) => callUserList.some(({ userID, state }: any) => userID === 'carol' && state === 5));
  proxy.cut();
  await phone.event('connectionStateChanged', ({ state, event }) => state === ZIMConnectionState.Reconnecting && event === ZIMConnectionEvent.LoginInterrupted);
  phone.seen.length = 0;
  await bob.cancel({ call_id: ringing.call_id });
  const missed = await bob.invite({ user_ids: ['alice'] });
  await bob.cancel({ call_id: missed.call_id });
  await carol.accept({ call_id: callID, extended_data: 'yes' });
  await bob.reject({ call_id: callID });
  proxy.mode = 'open';
  await phone.event('callInvitationCancelled');
  await phone.event('callInvitationAccepted');
  await phone.event('callInvitationRejected');
  // One callUserStateChanged a call, nothing of the invitation that never rang.
  const changes = phone.seen.filter(([name]) => name === 'callUserStateChanged').map(([, data]) => data);
  assert.deepEqual(changes.map(({ callID }) => callID).sort(), [callID, ringing.call_id].sort());
  const states = changes.find((change) => change.callID === callID).callUserList.map(({ userID, state }: any) => [userID, state]);
  assert.deepEqual(states.sort(), [['bob', 2], ['carol', 1]]);
  assert.ok(!phone.seen.some(([, data]) => data.callID === missed.call_id));
  assert.deepEqual(phone.seen[0], ['connectionStateChanged', { state: 2, event: 0, extendedData: '{}' }]);
});

test('login, logout and what they refuse', async () => {
  const phone = new Phone();
  await assert.rejects(phone.zim.callInvite(['bob'], { timeout: 1, mode: 0, extendedData: '' }), ({ code }) => code === 6000121);
  await assert.rejects(phone.zim.login('alice', { token: 'nonsense' }), ({ code }) => code === 6000101);
  await phone.event('connectionStateChanged', ({ state }) => state === ZIMConnectionState.Disconnected);
  phone.seen.length = 0;
  await phone.zim.login({ userID: 'alice', userName: 'Alice' }, token('alice'));
  await assert.rejects(phone.zim.login('alice', { token: token('alice') }), ({ code }) => code === 6000111);
  const fresh = token('alice', 7200);
  assert.deepEqual(await phone.zim.renewToken(fresh), { token: fresh });
  assert.equal(await phone.zim.logout(), undefined);
  await phone.event('connectionStateChanged', ({ state, event }) => state === ZIMConnectionState.Disconnected && event === ZIMConnectionEvent.Success);
  assert.deepEqual(phone.seen.map(([, { state, event }]) => [state, event]), [[1, 1], [2, 0], [0, 0]]);
  await phone.zim.login('carol', { token: token('carol') });
});

test('what is not part of Ringback', async () => {
  const { zim } = new Phone();
  await assert.rejects(zim.createGroup({}, []), (error) => {
    assert.deepEqual(error, { code: 6000001, message: 'createGroup is not part of Ringback' });
    return true;
  });
});
