// An app that was written against the types of the public package compiles
// against ours. The compiler checks it (npm run typecheck); nothing of the
// package is run, and nothing of it is shipped.
import { test } from 'node:test';
import type * as Public from 'zego-zim-web';
import { ZIM, ZIMCallInvitationMode, ZIMCallState, ZIMCallUserState, ZIMConnectionEvent, ZIMConnectionState } from '../src/zim/index.js';
import type { ZIMEventData } from '../src/zim/index.js';

type Calls =
  | 'login' | 'logout' | 'renewToken' | 'callInvite' | 'callingInvite' | 'callCancel' | 'callAccept' | 'callReject' | 'callJoin' | 'callQuit'
  | 'callEnd' | 'queryCallInvitationList' | 'destroy' | 'setLogConfig' | 'uploadLog';

// Whoever holds an instance of theirs can hold one of ours.
const asPublic = (zim: ZIM): Pick<Public.ZIM, Calls> => zim;
// So can whoever only looks whether a method is there.
const names = (name: Exclude<keyof Public.ZIM, 'on' | 'off'>): keyof ZIM => name;

// Data of events is what their listeners take.
type Data<K extends keyof Public.ZIMEventHandler> = Parameters<Public.ZIMEventHandler[K]>[1];
const asEvents = (data: ZIMEventData): { [K in keyof ZIMEventData]: K extends keyof Public.ZIMEventHandler ? Data<K> : never } => data;

// The enumerations have the same numbers under the same names.
type Numbers<E> = { [K in keyof E]: E[K] extends number ? `${E[K]}` extends `${infer N extends number}` ? N : never : never };
const enums: [
  Numbers<typeof Public.ZIMCallInvitationMode>, Numbers<typeof Public.ZIMCallState>, Numbers<typeof Public.ZIMCallUserState>,
  Numbers<typeof Public.ZIMConnectionState>, Numbers<typeof Public.ZIMConnectionEvent>,
] = [ZIMCallInvitationMode, ZIMCallState, ZIMCallUserState, ZIMConnectionState, ZIMConnectionEvent];

// What such an app looks like.
async function app(config: Public.ZIMCallInviteConfig, user: Public.ZIMUserInfo): Promise<void> {
  const zim = ZIM.create({ appID: 1 } satisfies Public.ZIMAppConfig);
  if (!zim) return;
  zim.on('callInvitationReceived', (zim, { callID, inviter, timeout, extendedData, callUserList }) => {
    void [inviter, timeout, extendedData, callUserList.map(({ userID, state }) => [userID, state])];
    zim.callAccept(callID, { extendedData: '' }).then(({ callID }) => callID).catch(({ code, message }: Public.ZIMError) => [code, message]);
  });
  zim.on('callUserStateChanged', (_zim, { callUserList }) => {
    for (const user of callUserList) {
      switch (user.state) {
        case ZIMCallUserState.Accepted:
        case ZIMCallUserState.Rejected:
          return;
      }
    }
  });
  zim.on('connectionStateChanged', (_zim, { state, event }) => void (state === ZIMConnectionState.Connected && event === ZIMConnectionEvent.Success));
  zim.on('peerMessageReceived', (_zim, data) => void data.messageList); // never called here
  zim.off('callUserStateChanged');
  await zim.login(user, 'token');
  await zim.login('alice', { userName: '', token: '', isOfflineLogin: false, customStatus: '', customStatusDuration: 0 } satisfies Public.ZIMLoginConfig);
  const { callID, timeout, errorUserList }: Public.ZIMCallInvitationSentResult = await zim.callInvite(['bob'], config);
  void [timeout, errorUserList[0]?.reason];
  const { errorInvitees }: Public.ZIMCallCancelSentResult = await zim.callCancel(['bob'], callID, { extendedData: '' });
  void errorInvitees;
  const { callList }: Public.ZIMCallInvitationListQueriedResult = await zim.queryCallInvitationList({ count: 20 });
  const infos: Public.ZIMCallInfo[] = callList;
  void infos;
}

test('the types are those of the public package', () => void [asPublic, names, asEvents, enums, app]);
