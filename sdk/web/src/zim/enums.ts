// Enumerations under their public names. Each is an object of numbers and the
// type of its values.

export const ZIMConnectionState = { Disconnected: 0, Connecting: 1, Connected: 2, Reconnecting: 3 } as const;
export type ZIMConnectionState = (typeof ZIMConnectionState)[keyof typeof ZIMConnectionState];

export const ZIMConnectionEvent = {
  Success: 0,
  ActiveLogin: 1,
  LoginTimeout: 2,
  LoginInterrupted: 3,
  KickedOut: 4,
  TokenExpired: 5,
  Unregistered: 6,
} as const;
export type ZIMConnectionEvent = (typeof ZIMConnectionEvent)[keyof typeof ZIMConnectionEvent];

export const ZIMCallInvitationMode = { Unknown: -1, General: 0, Advanced: 1 } as const;
export type ZIMCallInvitationMode = (typeof ZIMCallInvitationMode)[keyof typeof ZIMCallInvitationMode];

export const ZIMCallState = { Unknown: -1, Started: 1, Ended: 2 } as const;
export type ZIMCallState = (typeof ZIMCallState)[keyof typeof ZIMCallState];

export const ZIMCallUserState = {
  Unknown: -1,
  Inviting: 0,
  Accepted: 1,
  Rejected: 2,
  Cancelled: 3,
  Offline: 4,
  Received: 5,
  Timeout: 6,
  Quit: 7,
  Ended: 8,
  NotYetReceived: 9,
  BeCancelled: 10,
} as const;
export type ZIMCallUserState = (typeof ZIMCallUserState)[keyof typeof ZIMCallUserState];

export const ZIMErrorCode = {
  Success: 0,
  Failed: 1,
  CommonModuleParamsInvalid: 6000001,
  CommonModuleNotInit: 6000002,
  CommonModuleTriggerServerFrequencyLimit: 6000005,
  CommonModuleIMServerError: 6000007,
  CommonModuleIMDatabaseError: 6000008,
  CommonModuleUnsupportedRequest: 6000013,
  NetworkModuleCommonError: 6000101,
  NetworkModuleTokenInvalid: 6000103,
  NetworkModuleNetworkError: 6000104,
  NetworkModuleRequestTimeout: 6000105,
  NetworkModuleTokenExpired: 6000106,
  NetworkModuleTokenVersionError: 6000107,
  NetworkModuleTokenTimeIsTooShort: 6000108,
  NetworkModuleUserHasAlreadyLogged: 6000111,
  NetworkModuleUserIsNotLogged: 6000121,
  CallModuleCancelError: 6000271,
  CallModuleServerError: 6000272,
  CallModuleIsNotInvitor: 6000273,
  CallModuleIsNotInvitee: 6000274,
  CallModuleAlreadyExists: 6000275,
  CallModuleDoesNotExist: 6000276,
  CallModuleInviteUserDoesNotExist: 6000281,
  CallModuleUserAlreadyInTheCall: 6000283,
  CallModuleNotAdvancedMode: 6000286,
} as const;
export type ZIMErrorCode = number;
