import { trim } from '../calls.js';
import type { SnapshotEvent } from '../connection.js';
import { isPending, UserState } from '../protocol.js';
import type { Call, Cancelled, CallUser, Ended, JoinReply, TimedOut, UsersChanged } from '../protocol.js';
import type { ZIMCallInvitationMode, ZIMCallUserState } from './enums.js';
import type { ZIMCallInfo, ZIMCallUserInfo, ZIMEventData } from './types.js';

const MAX_SHOWN = 1024;

interface Shown {
  mode: ZIMCallInvitationMode;
  caller: string;
  inviter: string;
  users: Map<string, ZIMCallUserInfo>;
  mine: Set<string>; // whom this user invited
}

export type Emit = <K extends keyof ZIMEventData>(name: K, data: ZIMEventData[K]) => void;

/**
 * Makes the events of the ZIM face out of those of the protocol. It keeps the
 * calls that the app was shown, and is silent about all others.
 */
export class ShownCalls {
  readonly #self: string;
  readonly #emit: Emit;
  #shown = new Map<string, Shown>();

  constructor(self: string, emit: Emit) {
    this.#self = self;
    this.#emit = emit;
  }

  created(call: Call): void {
    this.#show(call);
    this.#emit('callInvitationCreated', invitation(call));
  }

  invited(call: Call): void {
    this.#show(call);
    this.#emit('callInvitationReceived', { ...invitation(call), inviter: call.inviter });
  }

  /** This device joined a call by itself. */
  joined(call: JoinReply): void {
    this.#show(call);
  }

  /** This device invited: a call, or more users into it. */
  invitedBy(callID: string, mode: number, users: readonly string[]): void {
    let call = this.#shown.get(callID);
    if (!call) {
      call = { mode: mode as ZIMCallInvitationMode, caller: this.#self, inviter: this.#self, users: new Map(), mine: new Set() };
      this.#keep(callID, call);
    }
    for (const user of users) call.mine.add(user);
  }

  usersChanged({ call_id, users }: UsersChanged): void {
    const call = this.#shown.get(call_id);
    if (call) this.#change(call_id, call, users, true);
  }

  cancelled({ call_id, mode, inviter, extended_data }: Cancelled): void {
    const call = this.#shown.get(call_id);
    if (!call) return;
    this.#setSelf(call, UserState.Cancelled);
    this.#emit('callInvitationCancelled', { callID: call_id, mode: mode as ZIMCallInvitationMode, inviter, extendedData: extended_data });
  }

  timedOut({ call_id, mode }: TimedOut): void {
    const call = this.#shown.get(call_id);
    if (!call) return;
    this.#setSelf(call, UserState.Timeout);
    this.#emit('callInvitationTimeout', { callID: call_id, mode: mode as ZIMCallInvitationMode });
  }

  ended({ call_id, mode, caller, operator, extended_data, end_time_ms }: Ended): void {
    if (!this.#shown.delete(call_id)) return;
    this.#emit('callInvitationEnded', {
      callID: call_id, mode: mode as ZIMCallInvitationMode, caller, operatedUserID: operator, extendedData: extended_data, endTime: end_time_ms,
    });
  }

  /**
   * What changed while the device was away: one callUserStateChanged a call,
   * then the end if there was one, and invitations that still ring.
   */
  snapshot({ calls, ended }: SnapshotEvent): void {
    for (const end of ended) {
      const call = this.#shown.get(end.call_id);
      if (!call) continue;
      const pending = isPending(call.users.get(this.#self)?.state ?? UserState.Accepted);
      const record = end.call;
      const own: CallUser = { user_id: this.#self, state: end.state, extended_data: '' };
      if (record) this.#change(end.call_id, call, record.users);
      else if (end.reason !== 'unknown') this.#change(end.call_id, call, [own]);
      this.#finish(end.call_id, call, end.reason, pending, record);
    }
    for (const live of calls) {
      const call = this.#shown.get(live.call_id);
      const own = live.users.find(({ user_id }) => user_id === this.#self);
      const pending = own !== undefined && isPending(own.state);
      // One whose end for this user was told is invited anew.
      if (pending && !(call && isPending(call.users.get(this.#self)?.state ?? UserState.Accepted))) this.invited(live);
      else if (call?.users.size === 0) this.created(live); // the event was lost with a connection
      else if (call) this.#change(live.call_id, call, live.users);
    }
  }

  // finish tells the end of a call that the device learned of late.
  #finish(callID: string, { mode, caller, inviter }: Shown, reason: string, pending: boolean, record: Call | undefined): void {
    this.#shown.delete(callID);
    if (mode === 1 && !(pending && ['timeout', 'caller_cancel', 'caller_left'].includes(reason))) {
      if (['quit', 'answered_elsewhere'].includes(reason)) return;
      this.#emit('callInvitationEnded', {
        callID, mode, caller, operatedUserID: '', extendedData: '', endTime: record?.end_time_ms ?? 0,
      });
      return;
    }
    if (!pending) return;
    if (reason === 'caller_cancel' || reason === 'caller_left') this.#emit('callInvitationCancelled', { callID, mode, inviter, extendedData: '' });
    else if (reason !== 'answered_elsewhere') this.#emit('callInvitationTimeout', { callID, mode });
  }

  // change notes states, emits one event for those that are new, or all, and
  // tells an inviter of the answers under the older names too.
  #change(callID: string, call: Shown, users: readonly CallUser[], all = false): void {
    const changed: ZIMCallUserInfo[] = [];
    const answers: (() => void)[] = [];
    const late: string[] = [];
    for (const user of users) {
      const before = call.users.get(user.user_id);
      if (!all && before?.state === user.state && (!user.extended_data || before.extendedData === user.extended_data)) continue;
      const now = userInfo(user);
      call.users.set(now.userID, now);
      changed.push({ ...now });
      if (!call.mine.has(now.userID) || before?.state === now.state) continue;
      const answer = { callID, invitee: now.userID, extendedData: now.extendedData };
      if (now.state === UserState.Accepted) answers.push(() => this.#emit('callInvitationAccepted', answer));
      if (now.state === UserState.Rejected) answers.push(() => this.#emit('callInvitationRejected', answer));
      if (now.state === UserState.Timeout) late.push(now.userID);
    }
    if (changed.length > 0) this.#emit('callUserStateChanged', { callID, callUserList: changed });
    for (const tell of answers) tell();
    if (late.length > 0) this.#emit('callInviteesAnsweredTimeout', { callID, invitees: late });
  }

  #show(call: Call): void {
    const before = this.#shown.get(call.call_id);
    const mine = before?.mine ?? new Set<string>();
    if (call.caller === this.#self && !before) {
      for (const { user_id } of call.users) if (user_id !== this.#self) mine.add(user_id);
    }
    this.#keep(call.call_id, {
      mode: call.mode as ZIMCallInvitationMode,
      caller: call.caller,
      inviter: call.inviter,
      users: new Map(call.users.map((user) => [user.user_id, userInfo(user)])),
      mine,
    });
  }

  #keep(callID: string, call: Shown): void {
    this.#shown.delete(callID);
    this.#shown.set(callID, call);
    trim(this.#shown, MAX_SHOWN);
  }

  #setSelf(call: Shown, state: ZIMCallUserState): void {
    const user = call.users.get(this.#self);
    if (user) user.state = state;
  }
}

export function userInfo({ user_id, state, extended_data }: CallUser): ZIMCallUserInfo {
  return { userID: user_id, state: state as ZIMCallUserState, extendedData: extended_data };
}

export function callInfo(call: Call): ZIMCallInfo {
  return {
    callID: call.call_id,
    caller: call.caller,
    inviter: call.inviter,
    createTime: call.create_time_ms,
    endTime: call.end_time_ms,
    state: call.state as ZIMCallInfo['state'],
    mode: call.mode as ZIMCallInvitationMode,
    extendedData: call.extended_data,
    callUserList: call.users.map(userInfo),
  };
}

function invitation(call: Call): ZIMEventData['callInvitationCreated'] {
  return {
    callID: call.call_id,
    mode: call.mode as ZIMCallInvitationMode,
    caller: call.caller,
    extendedData: call.extended_data,
    timeout: call.timeout,
    createTime: call.create_time_ms,
    callUserList: call.users.map(userInfo),
  };
}
