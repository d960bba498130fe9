import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Calls } from '../src/calls.js';
import { RingbackClient } from '../src/index.js';
import type {
  AnsweredElsewhere, CallAction, CallReply, CancelBody, Cancelled, Ended, Frame, InviteBody, InviteMoreBody, InviteReply, JoinReply, Kicked,
  LeaveReply, LoginBody, LoginReply, PingReply, QueryBody, QueryReply, RenewTokenBody, RequestFrame, Snapshot, SyncBody, TimedOut,
  TokenExpiring, UsersChanged, UsersReply,
} from '../src/index.js';
import { FakeSocket, settle } from './fake.js';

// The vectors that the tests of the server read too.
const vectors = JSON.parse(readFileSync('../../protocol/testdata/frames.json', 'utf8')) as { type: string; json: any }[];

// Fields of each body by the types of the SDK, with one letter for their kind:
// n number, s string, b boolean, a array, o object; ? when it may be absent.
type Kind<T> = T extends number ? 'n' : T extends string ? 's' : T extends boolean ? 'b' : T extends readonly unknown[] ? 'a' : 'o';
type Shape<T> = { [K in keyof T]-?: undefined extends T[K] ? `${Kind<Exclude<T[K], undefined>>}?` : Kind<T[K]> };

const call = {
  call_id: 's', version: 'n', mode: 'n', state: 'n', caller: 's', inviter: 's', extended_data: 's', timeout: 'n', create_time_ms: 'n',
  end_time_ms: 'n', ring_remaining_ms: 'n', users: 'a',
} as const;
const shapes: Record<string, Record<string, string>> = {
  Login: { app_id: 'n', user_id: 's', token: 's', user_name: 's?', platform: 's?', session_id: 's?', known_calls: 'a?' } satisfies Shape<LoginBody>,
  LoginReply: {
    session_id: 's', resumed: 'b', server_time_ms: 'n', heartbeat_interval_ms: 'n', calls: 'a', ended: 'a',
  } satisfies Shape<LoginReply> as Record<string, string>,
  Sync: { known_calls: 'a?' } satisfies Shape<SyncBody>,
  Snapshot: { calls: 'a', ended: 'a' } satisfies Shape<Snapshot>,
  RenewToken: { token: 's' } satisfies Shape<RenewTokenBody>,
  PingReply: { server_time_ms: 'n' } satisfies Shape<PingReply>,
  Invite: {
    user_ids: 'a', timeout: 'n?', mode: 'n?', extended_data: 's?', not_received_check: 'b?', push: 'o?', request_id: 's?',
  } satisfies Shape<InviteBody> as Record<string, string>,
  InviteReply: { call_id: 's', version: 'n', timeout: 'n', create_time_ms: 'n', error_users: 'a' } satisfies Shape<InviteReply>,
  InviteMore: { call_id: 's', user_ids: 'a', push: 'o?' } satisfies Shape<InviteMoreBody>,
  Cancel: { call_id: 's', user_ids: 'a?', extended_data: 's?', push: 'o?' } satisfies Shape<CancelBody>,
  UsersReply: { call_id: 's', version: 'n', error_users: 'a' } satisfies Shape<UsersReply>,
  CallAction: { call_id: 's', extended_data: 's?', push: 'o?' } satisfies Shape<CallAction>,
  CallReply: { call_id: 's', version: 'n' } satisfies Shape<CallReply>,
  JoinReply: { ...call, join_time_ms: 'n' } satisfies Shape<JoinReply>,
  LeaveReply: {
    call_id: 's', version: 'n', create_time_ms: 'n', accept_time_ms: 'n', quit_time_ms: 'n?', end_time_ms: 'n?',
  } satisfies Shape<LeaveReply>,
  Query: { count: 'n?', next_flag: 'n?' } satisfies Shape<QueryBody>,
  QueryReply: { calls: 'a', next_flag: 'n' } satisfies Shape<QueryReply>,
  UsersChanged: { call_id: 's', version: 'n', users: 'a' } satisfies Shape<UsersChanged>,
  Cancelled: {
    call_id: 's', version: 'n', mode: 'n', inviter: 's', extended_data: 's', reason: 's',
  } satisfies Shape<Cancelled>,
  TimedOut: { call_id: 's', version: 'n', mode: 'n' } satisfies Shape<TimedOut>,
  AnsweredElsewhere: { call_id: 's', version: 'n', answer: 's', session_id: 's' } satisfies Shape<AnsweredElsewhere>,
  Ended: {
    call_id: 's', version: 'n', mode: 'n', caller: 's', operator: 's', extended_data: 's', end_time_ms: 'n', reason: 's',
  } satisfies Shape<Ended>,
  Kicked: { reason: 's' } satisfies Shape<Kicked>,
  TokenExpiring: { seconds_left: 'n' } satisfies Shape<TokenExpiring>,
  Request: { id: 'n?', op: 's', body: 'o?' } satisfies Record<keyof RequestFrame, string>,
  Frame: { id: 'n?', event: 's?', body: 'o?', error: 'o?' } satisfies Record<keyof Frame, string>,
};

function kind(value: unknown): string {
  if (Array.isArray(value)) return 'a';
  return { number: 'n', string: 's', boolean: 'b', object: 'o' }[typeof value as 'number'] ?? '?';
}

for (const { type, json } of vectors) {
  test(`the vector of ${type} has the fields that the SDK knows`, () => {
    const shape = shapes[type];
    assert.ok(shape, `the SDK knows no ${type}`);
    for (const [name, value] of Object.entries(json)) assert.equal(shape[name]?.[0], kind(value), `${type}.${name}`);
    for (const [name, want] of Object.entries(shape)) assert.ok(want.endsWith('?') || name in json, `${type}.${name} is missing`);
  });
}

test('every type of the vectors is covered, and no other', () => {
  assert.deepEqual([...new Set(vectors.map(({ type }) => type))].sort(), Object.keys(shapes).sort());
});

// What the client makes of the vectors of requests is the vectors.
test('requests are those of the vectors', async () => {
  const vector = (type: string) => vectors.find((vector) => vector.type === type)?.json;
  const login = vector('Login') as LoginBody;
  const client = new RingbackClient({
    server: 'http://h', appID: login.app_id, userID: login.user_id, token: login.token, userName: login.user_name ?? '',
    platform: login.platform ?? '', sessionID: login.session_id ?? '', knownCalls: login.known_calls ?? [], webSocket: FakeSocket,
  });
  const connected = client.connect();
  await settle();
  const socket = FakeSocket.last;
  assert.deepEqual([socket.url, socket.protocol], ['ws://h/v1/connect', 'ringback.v1']);
  socket.open();
  assert.deepEqual(socket.request('login').body, login);
  socket.reply('login', vector('LoginReply'));
  await connected;
  void client.invite(vector('Invite')).catch(() => {});
  assert.deepEqual(socket.request('call.invite').body, vector('Invite'));
  void client.cancel(vector('Cancel')).catch(() => {});
  assert.deepEqual(socket.request('call.cancel').body, vector('Cancel'));
  void client.accept(vector('CallAction')).catch(() => {});
  assert.deepEqual(socket.request('call.accept').body, vector('CallAction'));
  void client.renewToken('04AA').catch(() => {});
  assert.deepEqual(socket.request('renew_token').body, vector('RenewToken'));
  client.close();
});

test('frames that are events of the vectors are understood', () => {
  const calls = new Calls('bob');
  for (const { type, json } of vectors) {
    if (type !== 'Frame' || !json.event) continue;
    assert.ok(calls.admit(json.event, json.body));
  }
});
