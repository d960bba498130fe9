// The wire contract of the client protocol, version 1. Names are those of the
// wire; times that end in _ms are Unix milliseconds, timeouts are seconds.

export const PATH = '/v1/connect';
export const SUBPROTOCOL = 'ringback.v1';
export const MAX_FRAME = 64 * 1024; // bytes

// Error codes that the SDK itself looks at or gives.
export const Code = {
  InvalidParameter: 6000001,
  NotCreated: 6000002,
  TooManyRequests: 6000005,
  ServerError: 6000007,
  StorageError: 6000008,
  TokenInvalid: 6000101,
  NetworkError: 6000104,
  RequestTimeout: 6000105,
  TokenExpired: 6000106,
  AlreadyLoggedIn: 6000111,
  NotLoggedIn: 6000121,
} as const;

// Close codes of a server.
export const CloseCode = {
  Logout: 1000,
  GoingAway: 1001,
  TooBig: 1009,
  Protocol: 4000,
  Kicked: 4001,
  Resumed: 4002,
  Unauthenticated: 4003,
  TokenExpired: 4004,
  SlowReader: 4008,
  Flood: 4029,
} as const;

// User states of a call.
export const UserState = {
  Inviting: 0,
  Accepted: 1,
  Rejected: 2,
  Cancelled: 3,
  Received: 5,
  Timeout: 6,
  Quit: 7,
  Ended: 8,
  NotYetReceived: 9,
  BeCancelled: 10,
} as const;

/** Whether a user in this state is being rung. */
export function isPending(state: number): boolean {
  return state === UserState.Inviting || state === UserState.Received || state === UserState.NotYetReceived;
}

export interface CallUser {
  user_id: string;
  state: number;
  extended_data: string;
}

/** A call as this user sees it. */
export interface Call {
  call_id: string;
  version: number;
  /** 0 general, 1 advanced. */
  mode: number;
  /** 1 started, 2 ended. */
  state: number;
  caller: string;
  /** Of this user; of the caller himself. */
  inviter: string;
  extended_data: string;
  /** Seconds. */
  timeout: number;
  create_time_ms: number;
  /** 0 while it lives. */
  end_time_ms: number;
  /** What is left of the ringing, by the server's clock; 0 for a user who is not rung. */
  ring_remaining_ms: number;
  users: CallUser[];
}

/** How a call that the device still showed came to its end for this user. */
export interface EndedCall {
  call_id: string;
  version: number;
  /** Of this user. */
  state: number;
  reason: string;
}

export interface Snapshot {
  calls: Call[];
  ended: EndedCall[];
}

export interface LoginBody {
  app_id: number;
  user_id: string;
  token: string;
  user_name?: string;
  platform?: string;
  session_id?: string;
  known_calls?: string[];
}

export interface LoginReply extends Snapshot {
  session_id: string;
  resumed: boolean;
  server_time_ms: number;
  heartbeat_interval_ms: number;
}

export interface SyncBody {
  known_calls?: string[];
}

export interface RenewTokenBody {
  token: string;
}

export interface PingReply {
  server_time_ms: number;
}

/** At most 4 KiB as JSON. */
export type Push = Record<string, unknown>;

export interface InviteBody {
  /** 1 to 9 users. */
  user_ids: string[];
  /** 1 to 600 seconds; 90 when left out. */
  timeout?: number;
  mode?: number;
  /** At most 2048 bytes. */
  extended_data?: string;
  not_received_check?: boolean;
  push?: Push;
  /** Made by the SDK when left out. At most 64 bytes. */
  request_id?: string;
}

export interface ErrorUser {
  user_id: string;
  code: number;
}

export interface InviteReply {
  call_id: string;
  version: number;
  timeout: number;
  create_time_ms: number;
  error_users: ErrorUser[];
}

export interface InviteMoreBody {
  call_id: string;
  user_ids: string[];
  push?: Push;
}

export interface CancelBody {
  call_id: string;
  /** Everybody who is pending, when left out. */
  user_ids?: string[];
  extended_data?: string;
  push?: Push;
}

export interface UsersReply {
  call_id: string;
  version: number;
  error_users: ErrorUser[];
}

export interface CallAction {
  call_id: string;
  extended_data?: string;
  /** Of quit and end only. */
  push?: Push;
}

export interface CallReply {
  call_id: string;
  version: number;
}

export interface JoinReply extends Call {
  join_time_ms: number;
}

export interface LeaveReply {
  call_id: string;
  version: number;
  create_time_ms: number;
  accept_time_ms: number;
  quit_time_ms?: number;
  end_time_ms?: number;
}

export interface QueryBody {
  /** At most 100. */
  count?: number;
  next_flag?: number;
}

export interface QueryReply {
  calls: Call[];
  /** 0 at the end. */
  next_flag: number;
}

export interface UsersChanged {
  call_id: string;
  version: number;
  users: CallUser[];
}

export interface Cancelled {
  call_id: string;
  version: number;
  mode: number;
  inviter: string;
  extended_data: string;
  reason: string;
}

export interface TimedOut {
  call_id: string;
  version: number;
  mode: number;
}

export interface AnsweredElsewhere {
  call_id: string;
  version: number;
  /** 'accepted' or 'rejected'. */
  answer: string;
  /** '' when the server API answered. */
  session_id: string;
}

export interface Ended {
  call_id: string;
  version: number;
  mode: number;
  caller: string;
  /** '' when nobody ended it. */
  operator: string;
  extended_data: string;
  end_time_ms: number;
  reason: string;
}

export interface Kicked {
  reason: string;
}

export interface TokenExpiring {
  seconds_left: number;
}

export interface WireError {
  code: number;
  message: string;
}

export interface RequestFrame {
  id?: number;
  op: string;
  body?: unknown;
}

export interface Frame {
  id?: number;
  event?: string;
  body?: unknown;
  error?: WireError;
}

/** Operations: what goes in and what comes out. */
export interface Operations {
  login: [LoginBody, LoginReply];
  logout: [Record<string, never>, Record<string, never>];
  renew_token: [RenewTokenBody, Record<string, never>];
  ping: [Record<string, never>, PingReply];
  'call.sync': [SyncBody, Snapshot];
  'call.invite': [InviteBody, InviteReply];
  'call.invite_more': [InviteMoreBody, UsersReply];
  'call.cancel': [CancelBody, UsersReply];
  'call.accept': [CallAction, CallReply];
  'call.reject': [CallAction, CallReply];
  'call.received': [CallAction, CallReply];
  'call.join': [CallAction, JoinReply];
  'call.quit': [CallAction, LeaveReply];
  'call.end': [CallAction, LeaveReply];
  'call.query': [QueryBody, QueryReply];
}

/** Events of calls, with the bodies they have on the wire. */
export interface CallEvents {
  'call.created': Call;
  'call.invited': Call;
  'call.users_changed': UsersChanged;
  'call.cancelled': Cancelled;
  'call.timed_out': TimedOut;
  'call.answered_elsewhere': AnsweredElsewhere;
  'call.ended': Ended;
}
