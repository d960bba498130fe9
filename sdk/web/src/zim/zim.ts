import { RingbackClient } from '../client.js';
import type { Disconnected } from '../connection.js';
import { guard } from '../emitter.js';
import { RingbackError } from '../errors.js';
import { CloseCode, Code } from '../protocol.js';
import type { Push } from '../protocol.js';
import type { SocketClass } from '../socket.js';
import { VERSION } from '../version.js';
import { addAbsent } from './absent.js';
import type { AbsentMethods } from './absent.js';
import { callInfo, ShownCalls, userInfo } from './calls.js';
import { ZIMConnectionEvent, ZIMConnectionState } from './enums.js';
import type {
  ZIMAppConfig, ZIMCallActionConfig, ZIMCallAnsweredResult, ZIMCallCancelSentResult, ZIMCallEndSentResult, ZIMCallingInvitationSentResult,
  ZIMCallingInviteConfig, ZIMCallInvitationListQueriedResult, ZIMCallInvitationQueryConfig, ZIMCallInvitationSentResult,
  ZIMCallInviteConfig, ZIMCallJoinSentResult, ZIMCallPushedActionConfig, ZIMCallQuitSentResult, ZIMError, ZIMEventData,
  ZIMEventHandler, ZIMLoginConfig, ZIMPushConfig, ZIMTokenRenewedResult, ZIMUserInfo,
} from './types.js';

export interface ServerOptions {
  /** The WebSocket class, where there is no global one. */
  webSocket?: SocketClass;
}

type Listener = (zim: ZIM, data: never) => void;

/** The call-invitation surface of the public package zego-zim-web, over a Ringback server. */
export interface ZIM extends AbsentMethods {}
export class ZIM {
  static #instance: ZIM | null = null;
  static #server: string | undefined;
  static #serverOptions: ServerOptions = {};

  readonly #appID: number;
  #listeners = new Map<string, Listener>();
  #client: RingbackClient | undefined;
  #calls: ShownCalls | undefined;
  #userID = '';
  #loggingIn = false;
  #leaving = false; // the app logs out
  #refused = false; // the promise of the login said why

  private constructor(appID: number) {
    this.#appID = appID;
  }

  static {
    addAbsent(ZIM.prototype);
  }

  /** Makes the instance; null if there is one, or if there is no app ID. */
  static create(app: number | ZIMAppConfig): ZIM | null {
    const appID = Number(typeof app === 'object' ? app?.appID : app);
    if (ZIM.#instance || !Number.isInteger(appID) || appID <= 0) return null;
    return (ZIM.#instance = new ZIM(appID));
  }

  static getInstance(): ZIM | null {
    return ZIM.#instance;
  }

  /** The version of the package ringback. */
  static getVersion(): string {
    return VERSION;
  }

  /** The server of logins from now on: http, https, ws or wss. Default: the page's origin. */
  static setServer(url: string, options: ServerOptions = {}): void {
    ZIM.#server = url;
    ZIM.#serverOptions = options;
  }

  /** The key 'server' is that of setServer; others mean nothing here. */
  static setAdvancedConfig(key: string, value: string): void {
    if (key === 'server') ZIM.#server = value;
  }

  /** A server of one's own is where it is: true, and nothing changes. */
  static setGeofencingConfig(_areaList?: number[], _type?: number): boolean {
    return true;
  }

  /** Logs out, and makes room for another instance. */
  destroy(): void {
    this.#listeners.clear();
    if (ZIM.#instance === this) ZIM.#instance = null;
    const client = this.#client;
    this.#client = undefined;
    client?.logout().catch(() => {});
  }

  /** There is no log. */
  setLogConfig(_config?: object): void {}

  /** There is no log. */
  async uploadLog(): Promise<void> {}

  /** Sets the listener of an event. A second one replaces the first. */
  on<K extends keyof ZIMEventHandler>(type: K, listener: ZIMEventHandler[K]): void;
  on(type: string, listener: (zim: ZIM, data: any) => void): void;
  on(type: string, listener: Listener): void {
    this.#listeners.set(type, listener);
  }

  /** Removes the listener, if it is this one where one is given. */
  off(type: keyof ZIMEventHandler | (string & {}), listener?: (zim: ZIM, data: never) => void): void {
    if (!listener || this.#listeners.get(type) === listener) this.#listeners.delete(type);
  }

  login(userID: string, config: ZIMLoginConfig): Promise<void>;
  login(userInfo: ZIMUserInfo, token: string): Promise<void>;
  async login(user: string | ZIMUserInfo, how: string | ZIMLoginConfig): Promise<void> {
    const userID = typeof user === 'object' ? user?.userID : user;
    const userName = typeof user === 'object' ? user?.userName : (how as ZIMLoginConfig | undefined)?.userName;
    const token = typeof how === 'string' ? how : (how?.token ?? '');
    if (typeof userID !== 'string' || userID === '') throw failure(Code.InvalidParameter, 'login needs a user ID');
    if (this.#loggingIn || (this.#client && this.#client.state !== 'idle')) {
      throw failure(Code.AlreadyLoggedIn, 'already logged in; log out first');
    }
    this.#loggingIn = true;
    this.#refused = false;
    this.#emit('connectionStateChanged', status(ZIMConnectionState.Connecting, ZIMConnectionEvent.ActiveLogin));
    try {
      const client = this.#clientOf(userID, userName ?? '', token);
      this.#client = client;
      await client.connect();
    } catch (error) {
      this.#refused = true;
      throw plain(error);
    } finally {
      this.#loggingIn = false;
    }
  }

  async logout(_config?: object): Promise<void> {
    const client = this.#client;
    this.#leaving = true;
    try {
      await client?.logout();
    } catch (error) {
      throw plain(error);
    } finally {
      if (this.#client === client) {
        this.#client = undefined;
        this.#calls = undefined;
      }
    }
  }

  async renewToken(token: string): Promise<ZIMTokenRenewedResult> {
    await this.#do((client) => client.renewToken(token));
    return { token };
  }

  async callInvite(invitees: string[], config?: ZIMCallInviteConfig): Promise<ZIMCallInvitationSentResult> {
    const { timeout, mode = 0, extendedData, enableNotReceivedCheck, pushConfig } = config ?? {};
    const reply = await this.#do((client) =>
      client.invite({
        user_ids: invitees,
        mode,
        ...(timeout !== undefined && { timeout }),
        ...(extendedData && { extended_data: extendedData }),
        ...(enableNotReceivedCheck && { not_received_check: true }),
        ...push(pushConfig),
      }),
    );
    this.#calls?.invitedBy(reply.call_id, mode, invitees);
    return { callID: reply.call_id, timeout: reply.timeout, errorUserList: reply.error_users.map(errorUser) };
  }

  async callingInvite(invitees: string[], callID: string, config?: ZIMCallingInviteConfig): Promise<ZIMCallingInvitationSentResult> {
    const reply = await this.#do((client) =>
      client.inviteMore({ call_id: callID, user_ids: invitees, ...push(config?.pushConfig) }),
    );
    this.#calls?.invitedBy(callID, 1, invitees);
    return { callID: reply.call_id, errorUserList: reply.error_users.map(errorUser) };
  }

  /** With no invitees, everybody who is pending. */
  async callCancel(invitees: string[], callID: string, config?: ZIMCallPushedActionConfig): Promise<ZIMCallCancelSentResult> {
    const reply = await this.#do((client) =>
      client.cancel({ ...action(callID, config), ...(invitees?.length && { user_ids: invitees }) }),
    );
    return { callID: reply.call_id, errorInvitees: reply.error_users.map(({ user_id }) => user_id) };
  }

  async callAccept(callID: string, config?: ZIMCallActionConfig): Promise<ZIMCallAnsweredResult> {
    const reply = await this.#do((client) => client.accept(action(callID, config)));
    return { callID: reply.call_id };
  }

  async callReject(callID: string, config?: ZIMCallActionConfig): Promise<ZIMCallAnsweredResult> {
    const reply = await this.#do((client) => client.reject(action(callID, config)));
    return { callID: reply.call_id };
  }

  async callJoin(callID: string, config?: ZIMCallActionConfig): Promise<ZIMCallJoinSentResult> {
    const reply = await this.#do((client) => client.join(action(callID, config)));
    this.#calls?.joined(reply);
    return {
      callID: reply.call_id,
      createTime: reply.create_time_ms,
      joinTime: reply.join_time_ms,
      extendedData: reply.extended_data,
      callUserList: reply.users.map(userInfo),
    };
  }

  async callQuit(callID: string, config?: ZIMCallPushedActionConfig): Promise<ZIMCallQuitSentResult> {
    const reply = await this.#do((client) => client.quit(action(callID, config)));
    return { callID: reply.call_id, createTime: reply.create_time_ms, acceptTime: reply.accept_time_ms, quitTime: reply.quit_time_ms ?? 0 };
  }

  async callEnd(callID: string, config?: ZIMCallPushedActionConfig): Promise<ZIMCallEndSentResult> {
    const reply = await this.#do((client) => client.end(action(callID, config)));
    return { callID: reply.call_id, createTime: reply.create_time_ms, acceptTime: reply.accept_time_ms, endTime: reply.end_time_ms ?? 0 };
  }

  async queryCallInvitationList(config?: ZIMCallInvitationQueryConfig): Promise<ZIMCallInvitationListQueriedResult> {
    const { count = 20, nextFlag } = config ?? {};
    const reply = await this.#do((client) => client.query({ count, ...(nextFlag && { next_flag: nextFlag }) }));
    return { callList: reply.calls.map(callInfo), nextFlag: reply.next_flag };
  }

  async #do<T>(run: (client: RingbackClient) => Promise<T>): Promise<T> {
    if (!this.#client) throw failure(Code.NotLoggedIn, 'not logged in');
    try {
      return await run(this.#client);
    } catch (error) {
      throw plain(error);
    }
  }

  // clientOf gives the client of before to the same user, so that the session
  // goes on, and a new one to another.
  #clientOf(userID: string, userName: string, token: string): RingbackClient {
    this.#leaving = false;
    if (this.#client && this.#userID === userID) {
      this.#client.setToken(token);
      return this.#client;
    }
    this.#userID = userID;
    const client = new RingbackClient({
      server: ZIM.#server ?? (globalThis as { location?: { origin: string } }).location?.origin ?? '',
      appID: this.#appID,
      userID,
      userName,
      token,
      ...ZIM.#serverOptions,
    });
    const calls = new ShownCalls(userID, (name, data) => this.#emit(name, data));
    this.#calls = calls;
    client.on('connected', () => this.#emit('connectionStateChanged', status(ZIMConnectionState.Connected, ZIMConnectionEvent.Success)));
    client.on('disconnected', (why) => this.#disconnected(why));
    client.on('token.expiring', ({ seconds_left }) => this.#emit('tokenWillExpire', { second: seconds_left }));
    client.on('snapshot', (event) => calls.snapshot(event));
    client.on('call.created', (event) => calls.created(event));
    client.on('call.invited', (event) => calls.invited(event));
    client.on('call.users_changed', (event) => calls.usersChanged(event));
    client.on('call.cancelled', (event) => calls.cancelled(event));
    client.on('call.timed_out', (event) => calls.timedOut(event));
    client.on('call.ended', (event) => calls.ended(event));
    return client;
  }

  #disconnected({ code, reason, will_reconnect, error }: Disconnected): void {
    const { Disconnected, Reconnecting } = ZIMConnectionState;
    const { Success, LoginTimeout, LoginInterrupted, KickedOut, TokenExpired, Unregistered } = ZIMConnectionEvent;
    if (will_reconnect) {
      this.#emit('connectionStateChanged', status(Reconnecting, LoginInterrupted));
      return;
    }
    let event: ZIMConnectionEvent = LoginInterrupted;
    if (code === CloseCode.Logout) event = this.#leaving ? Success : Unregistered;
    else if (code === CloseCode.Kicked) event = KickedOut;
    else if (code === CloseCode.TokenExpired || error?.code === Code.TokenExpired) event = TokenExpired;
    else if (this.#refused && !error) event = LoginTimeout; // nobody answered the login
    this.#emit('connectionStateChanged', status(Disconnected, event));
    if (event === LoginInterrupted && !this.#refused) this.#emit('error', { code: error?.code ?? Code.NetworkError, message: error?.message ?? reason });
  }

  #emit<K extends keyof ZIMEventData>(name: K, data: ZIMEventData[K]): void {
    const listener = this.#listeners.get(name) as ZIMEventHandler[K] | undefined;
    if (listener) guard(() => listener(this, data));
  }
}

function status(state: ZIMConnectionState, event: ZIMConnectionEvent): ZIMEventData['connectionStateChanged'] {
  return { state, event, extendedData: '{}' };
}

function failure(code: number, message: string): ZIMError {
  return { code, message };
}

function plain(error: unknown): ZIMError {
  if (error instanceof RingbackError) return failure(error.code, error.message);
  return failure(Code.NetworkError, error instanceof Error ? error.message : String(error));
}

function action(callID: string, config: ZIMCallPushedActionConfig | undefined) {
  return { call_id: callID, ...(config?.extendedData && { extended_data: config.extendedData }), ...push(config?.pushConfig) };
}

function push(config: ZIMPushConfig | undefined): { push?: Push } {
  if (!config) return {};
  const { resourcesID, threadID, enableBadge, badgeIncrement, voIPConfig, privateMessageTemplate, ...rest } = config;
  const named = {
    resources_id: resourcesID,
    thread_id: threadID,
    enable_badge: enableBadge,
    badge_increment: badgeIncrement,
    voip_config: voIPConfig,
    private_message_template: privateMessageTemplate,
  };
  return { push: { ...rest, ...Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) } };
}

function errorUser({ user_id, code }: { user_id: string; code: number }) {
  return { userID: user_id, reason: code };
}
