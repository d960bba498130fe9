import type { ZIMCallInvitationMode, ZIMCallState, ZIMCallUserState, ZIMConnectionEvent, ZIMConnectionState } from './enums.js';
import type { ZIM } from './zim.js';

export interface ZIMError {
  code: number;
  message: string;
}

export interface ZIMAppConfig {
  appID: number;
  appSign?: string;
}

export interface ZIMUserInfo {
  userID: string;
  userName?: string;
}

export interface ZIMLoginConfig {
  userName?: string;
  token?: string;
  isOfflineLogin?: boolean;
  customStatus?: string;
  customStatusDuration?: number;
}

/** Handed to whatever sends pushes, as it is. */
export interface ZIMPushConfig {
  title?: string;
  content?: string;
  payload?: string;
  resourcesID?: string;
  threadID?: string;
  enableBadge?: boolean;
  badgeIncrement?: number;
  voIPConfig?: object;
  privateMessageTemplate?: object;
}

export interface ZIMCallInviteConfig {
  timeout?: number;
  mode?: ZIMCallInvitationMode;
  extendedData?: string;
  enableNotReceivedCheck?: boolean;
  pushConfig?: ZIMPushConfig;
}

export interface ZIMCallingInviteConfig {
  pushConfig?: ZIMPushConfig;
}

export interface ZIMCallActionConfig {
  extendedData?: string;
}

export interface ZIMCallPushedActionConfig extends ZIMCallActionConfig {
  pushConfig?: ZIMPushConfig;
}

export interface ZIMCallInvitationQueryConfig {
  count?: number;
  nextFlag?: number;
}

export interface ZIMCallUserInfo {
  userID: string;
  state: ZIMCallUserState;
  extendedData: string;
}

export interface ZIMErrorUserInfo {
  userID: string;
  reason: number;
}

export interface ZIMCallInfo {
  callID: string;
  caller: string;
  inviter: string;
  createTime: number;
  endTime: number;
  state: ZIMCallState;
  mode: ZIMCallInvitationMode;
  extendedData: string;
  callUserList: ZIMCallUserInfo[];
}

export interface ZIMTokenRenewedResult {
  token: string;
}

export interface ZIMCallInvitationSentResult {
  callID: string;
  timeout: number;
  errorUserList: ZIMErrorUserInfo[];
}

export interface ZIMCallingInvitationSentResult {
  callID: string;
  errorUserList: ZIMErrorUserInfo[];
}

export interface ZIMCallCancelSentResult {
  callID: string;
  errorInvitees: string[];
}

export interface ZIMCallAnsweredResult {
  callID: string;
}

export interface ZIMCallJoinSentResult {
  callID: string;
  createTime: number;
  joinTime: number;
  extendedData: string;
  callUserList: ZIMCallUserInfo[];
}

export interface ZIMCallQuitSentResult {
  callID: string;
  createTime: number;
  acceptTime: number;
  quitTime: number;
}

export interface ZIMCallEndSentResult {
  callID: string;
  createTime: number;
  acceptTime: number;
  endTime: number;
}

export interface ZIMCallInvitationListQueriedResult {
  callList: ZIMCallInfo[];
  nextFlag: number;
}

export interface ZIMCallInvitationCreated {
  callID: string;
  mode: ZIMCallInvitationMode;
  caller: string;
  extendedData: string;
  timeout: number;
  createTime: number;
  callUserList: ZIMCallUserInfo[];
}

export interface ZIMCallInvitationReceived extends ZIMCallInvitationCreated {
  inviter: string;
}

/** The data of each event. */
export interface ZIMEventData {
  connectionStateChanged: { state: ZIMConnectionState; event: ZIMConnectionEvent; extendedData: string };
  tokenWillExpire: { second: number };
  error: ZIMError;
  callInvitationCreated: ZIMCallInvitationCreated;
  callInvitationReceived: ZIMCallInvitationReceived;
  callInvitationCancelled: { callID: string; mode: ZIMCallInvitationMode; inviter: string; extendedData: string };
  callInvitationTimeout: { callID: string; mode: ZIMCallInvitationMode };
  callInvitationEnded: {
    callID: string;
    mode: ZIMCallInvitationMode;
    caller: string;
    operatedUserID: string;
    extendedData: string;
    endTime: number;
  };
  callUserStateChanged: { callID: string; callUserList: ZIMCallUserInfo[] };
  /** Deprecated, to the inviter; callUserStateChanged says the same. */
  callInvitationAccepted: { callID: string; invitee: string; extendedData: string };
  /** Deprecated, to the inviter; callUserStateChanged says the same. */
  callInvitationRejected: { callID: string; invitee: string; extendedData: string };
  /** Deprecated, to the inviter; callUserStateChanged says the same. */
  callInviteesAnsweredTimeout: { callID: string; invitees: string[] };
}

export type ZIMEventHandler = { [K in keyof ZIMEventData]: (zim: ZIM, data: ZIMEventData[K]) => void };
