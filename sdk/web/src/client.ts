import { Connection } from './connection.js';
import type { RequestOptions } from './connection.js';
import type {
  CallAction, CallReply, CancelBody, InviteBody, InviteMoreBody, InviteReply, JoinReply, LeaveReply, QueryBody, QueryReply, UsersReply,
} from './protocol.js';

/**
 * The native face: one device of a user. Bodies and events are those of the
 * client protocol, under their names on the wire. Requests reject with a
 * RingbackError, or with the reason of their signal.
 */
export class RingbackClient extends Connection {
  /** Calls users. It is safe to repeat: the request_id is made here when left out. */
  invite(invitation: InviteBody, options?: RequestOptions): Promise<InviteReply> {
    return this.request('call.invite', { request_id: randomID(), ...invitation }, options);
  }

  /** Invites more users into an advanced call. */
  inviteMore(invitation: InviteMoreBody, options?: RequestOptions): Promise<UsersReply> {
    return this.request('call.invite_more', invitation, options);
  }

  /** Takes back invitations: those of user_ids, or all that are pending. */
  cancel(cancel: CancelBody, options?: RequestOptions): Promise<UsersReply> {
    return this.request('call.cancel', cancel, options);
  }

  accept(action: CallAction, options?: RequestOptions): Promise<CallReply> {
    return this.request('call.accept', action, options);
  }

  reject(action: CallAction, options?: RequestOptions): Promise<CallReply> {
    return this.request('call.reject', action, options);
  }

  /** Says that the device rings; only needed with the option manualReceived. */
  received(callID: string, options?: RequestOptions): Promise<CallReply> {
    return this.request('call.received', { call_id: callID }, options);
  }

  /** Enters an advanced call with this device. */
  join(action: CallAction, options?: RequestOptions): Promise<JoinReply> {
    return this.request('call.join', action, options);
  }

  /** Leaves an advanced call. */
  quit(action: CallAction, options?: RequestOptions): Promise<LeaveReply> {
    return this.request('call.quit', action, options);
  }

  /** Ends an advanced call for everybody. */
  end(action: CallAction, options?: RequestOptions): Promise<LeaveReply> {
    return this.request('call.end', action, options);
  }

  /** A page of this user's calls, newest first. */
  query(query: QueryBody = {}, options?: RequestOptions): Promise<QueryReply> {
    return this.request('call.query', query, options);
  }

  /** A round trip; gives the server's time in Unix milliseconds. */
  async ping(options?: RequestOptions): Promise<number> {
    return (await this.request('ping', {}, options)).server_time_ms;
  }

  /** Replaces the token of the session, and that of the next login. */
  async renewToken(token: string, options?: RequestOptions): Promise<void> {
    if (this.state !== 'connected') this.setToken(token); // the next login needs it
    await this.request('renew_token', { token }, options);
    this.setToken(token);
  }
}

function randomID(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
