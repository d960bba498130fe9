import { backoff, STABLE_AFTER } from './backoff.js';
import { Calls } from './calls.js';
import { Emitter } from './emitter.js';
import { RingbackError } from './errors.js';
import { CloseCode, Code, SUBPROTOCOL, UserState } from './protocol.js';
import type { Call, CallEvents, EndedCall, Frame, Kicked, LoginReply, Operations, Snapshot, TokenExpiring } from './protocol.js';
import { Queue } from './queue.js';
import { Requests } from './requests.js';
import type { Request } from './requests.js';
import { endpoint, socketClass } from './socket.js';
import type { SocketClass, SocketLike } from './socket.js';
import { onWake } from './wake.js';
import { Watchdog } from './watchdog.js';

const OPEN = 1; // readyState
const DEFAULT_HEARTBEAT = 10_000; // ms
const CHECK_TIMEOUT = 5_000; // ms, for the answer after a sleep
const DETAIL_PAGES = 3; // of 100 calls, searched for calls that ended meanwhile

export interface ConnectionOptions {
  /** URL of the server: http, https, ws or wss. */
  server: string;
  appID: number;
  userID: string;
  userName?: string;
  /** The login token, or a function that gives one for each login. */
  token: string | (() => string | Promise<string>);
  /** WEB when left out. */
  platform?: string;
  /** Resumes a session from before, with the calls that it still shows. */
  sessionID?: string;
  knownCalls?: string[];
  /** The WebSocket class, where there is no global one. */
  webSocket?: SocketClass;
  /** Milliseconds for a request, time without a connection included; default 15 000. */
  requestTimeout?: number;
  /** Milliseconds for one attempt to connect and log in; default 10 000. */
  connectTimeout?: number;
  /** Leaves it to the app to say that it rings. */
  manualReceived?: boolean;
}

export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'reconnecting';

export interface Connected {
  session_id: string;
  /** False: to the server this is a new device. */
  resumed: boolean;
  server_time_ms: number;
}

export interface Disconnected {
  /** The close code of the server, 0 if there was none. */
  code: number;
  reason: string;
  /** True: a connected follows, or another disconnected when that proves impossible. */
  will_reconnect: boolean;
  /** The refusal of a login, if that was it. */
  error?: RingbackError;
}

/** What the server knows at a login or sync. */
export interface SnapshotEvent {
  calls: Call[];
  /** With the record of the call, for one in which this user took part. */
  ended: (EndedCall & { call?: Call })[];
}

export interface ConnectionEvents extends CallEvents {
  connected: Connected;
  disconnected: Disconnected;
  snapshot: SnapshotEvent;
  'session.kicked': Kicked;
  'token.expiring': TokenExpiring;
}

export interface RequestOptions {
  signal?: AbortSignal;
  /** Milliseconds. */
  timeout?: number;
}

/** One device of a user, kept connected to a server. */
export class Connection extends Emitter<ConnectionEvents> {
  readonly #options: ConnectionOptions;
  readonly #requests = new Requests();
  readonly #calls: Calls;
  readonly #events = new Queue(); // of calls
  readonly #news = new Queue(); // of the connection
  #state: ConnectionState = 'idle';
  #session: string | undefined;
  #token: ConnectionOptions['token'];
  #socket: SocketLike | undefined;
  #ready = false; // the login was answered on this socket
  #early: Frame[] = []; // events that came before that
  #failures = 0; // attempts since the connection was last stable
  #retry: ReturnType<typeof setTimeout> | undefined;
  #attempting = false;
  #settleLogin: ((error?: RingbackError, reply?: LoginReply) => void) | undefined;
  #since = 0;
  #watchdog: Watchdog | undefined;
  #unwatch = () => {}; // the events of the browser
  #afterSleep: (() => void) | undefined; // opens what waits for the truth after a sleep
  #checking = false;
  #renewing = false;

  constructor(options: ConnectionOptions) {
    super();
    this.#options = options;
    this.#token = options.token;
    this.#session = options.sessionID;
    this.#calls = new Calls(options.userID);
    this.#calls.restore(options.knownCalls ?? []);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get sessionID(): string | undefined {
    return this.#session;
  }

  /** The calls that the device still shows, oldest first. */
  get shownCalls(): string[] {
    return this.#calls.shown();
  }

  /** Replaces the token of the next login. */
  setToken(token: ConnectionOptions['token']): void {
    this.#token = token;
  }

  /** Connects and logs in. It tries once; from then on the connection comes back by itself. */
  async connect(signal?: AbortSignal): Promise<Connected> {
    signal?.throwIfAborted();
    if (this.#state !== 'idle') throw new RingbackError(Code.AlreadyLoggedIn, 'already logged in, or about to be');
    this.#state = 'connecting';
    this.#failures = 0;
    const abort = () => this.#end({ code: 0, reason: 'aborted' });
    signal?.addEventListener('abort', abort);
    this.#unwatch = onWake(() => this.#wake());
    try {
      const { session_id, resumed, server_time_ms } = await this.#attempt();
      return { session_id, resumed, server_time_ms };
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Sends a request. It waits for a connection if there is none at the moment. */
  request<Op extends keyof Operations>(op: Op, body: Operations[Op][0], options: RequestOptions = {}): Promise<Operations[Op][1]> {
    if (this.#state === 'idle' || this.#state === 'connecting') {
      return Promise.reject(new RingbackError(Code.NotLoggedIn, 'not logged in'));
    }
    const [promise, request] = this.#requests.add(op, body, options.timeout ?? this.#options.requestTimeout ?? 15_000, options.signal);
    if (request && this.#ready) this.#transmit(request);
    return promise;
  }

  /** Asks for the truth about all calls; it comes as a snapshot event too. */
  sync(options?: RequestOptions): Promise<Snapshot> {
    return this.request('call.sync', { known_calls: this.#calls.shown() }, options);
  }

  /** Lets go of the connection. The session stays, and may be resumed. */
  close(): void {
    if (this.#state !== 'idle') this.#end({ code: 0, reason: 'closed by the app' });
  }

  /** Ends the session. Without a connection the server does not learn of it. */
  async logout(options: RequestOptions = {}): Promise<void> {
    try {
      if (this.#ready) await this.request('logout', {}, { timeout: 5_000, ...options });
    } finally {
      this.#session = undefined;
      if (this.#state !== 'idle') this.#end({ code: CloseCode.Logout, reason: 'logged out' });
    }
  }

  // attempt connects and logs in once.
  async #attempt(): Promise<LoginReply> {
    this.#attempting = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const outcome = new Promise<LoginReply>((resolve, reject) => {
      this.#settleLogin = (error, reply) => {
        this.#settleLogin = undefined;
        this.#attempting = false;
        clearTimeout(timer);
        if (reply) resolve(reply);
        else reject(error);
      };
    });
    const mine = this.#settleLogin;
    const limit = this.#options.connectTimeout ?? 10_000;
    timer = setTimeout(() => {
      if (this.#settleLogin === mine) this.#lose({ code: 0, reason: `no login within ${limit / 1000} s` }, Code.RequestTimeout);
    }, limit);
    this.#open().catch((error: unknown) => {
      if (this.#settleLogin === mine) this.#lose({ code: 0, reason: error instanceof Error ? error.message : String(error) });
    });
    return outcome;
  }

  async #open(): Promise<void> {
    const wanted = this.#settleLogin;
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    const Socket = await socketClass(this.#options.webSocket);
    if (this.#settleLogin !== wanted) return;
    const socket = new Socket(endpoint(this.#options.server), SUBPROTOCOL);
    this.#socket = socket;
    const ifCurrent = <T>(run: (event: T) => void) => (event: T) => {
      if (socket === this.#socket) run(event);
    };
    socket.onerror = () => {}; // a close follows
    socket.onopen = ifCurrent(() => {
      const { appID, userID, userName, platform } = this.#options;
      const known = this.#calls.shown();
      socket.send(JSON.stringify({
        id: this.#requests.nextID(),
        op: 'login',
        body: {
          app_id: appID, user_id: userID, token, platform: platform ?? 'WEB',
          ...(userName && { user_name: userName }),
          ...(this.#session && { session_id: this.#session }),
          ...(known.length && { known_calls: known }),
        },
      }));
    });
    socket.onmessage = ifCurrent(({ data }: { data: unknown }) => this.#receive(String(data)));
    socket.onclose = ifCurrent(({ code, reason }: { code: number; reason: string }) => this.#closed(code, String(reason)));
  }

  #receive(data: string): void {
    try {
      this.#take(JSON.parse(data) as Frame);
    } catch (error) {
      this.#lose({ code: 0, reason: `a malformed frame from the server: ${error instanceof Error ? error.message : String(error)}` });
    }
  }

  #take(frame: Frame): void {
    if (this.#ready) {
      if (this.#watchdog?.heard()) this.#wake();
      this.#handle(frame);
    } else if (frame.event) {
      this.#early.push(frame);
    } else if (frame.error) {
      this.#refused(new RingbackError(frame.error.code, frame.error.message));
    } else {
      this.#loggedIn(frame.body as LoginReply);
    }
  }

  #loggedIn(reply: LoginReply): void {
    this.#state = 'connected';
    this.#ready = true;
    this.#session = reply.session_id;
    this.#since = Date.now();
    this.#watchdog = new Watchdog(
      reply.heartbeat_interval_ms || DEFAULT_HEARTBEAT,
      (slept) => {
        if (slept) this.#wake();
        else if (this.#socket?.readyState === OPEN) this.#socket.send('{"op":"ping"}');
      },
      () => this.#lose({ code: 0, reason: 'the server went silent for two heartbeats' }),
    );
    const { session_id, resumed, server_time_ms } = reply;
    // Whoever awaits the login runs first, then what awaits requests that are
    // sent again, then the events.
    this.#settleLogin?.(undefined, reply);
    this.#news.barrier()();
    this.#news.push(() => this.emit('connected', { session_id, resumed, server_time_ms }));
    this.#events.barrier()();
    this.#calls.adopt(reply);
    this.#awake();
    for (const request of this.#requests.all()) {
      if (request.sent > 0) {
        request.moved ||= !resumed;
        request.lift.push(this.#events.barrier());
      }
      this.#transmit(request);
    }
    this.#snapshot(reply);
    for (const frame of this.#early.splice(0)) this.#handle(frame);
  }

  // refused is for a login that the server refused.
  #refused(error: RingbackError): void {
    const passing = [Code.TooManyRequests, Code.ServerError, Code.StorageError] as number[];
    if (this.#state === 'reconnecting' && passing.includes(error.code)) this.#lose({ code: 0, reason: error.message });
    else this.#end({ code: CloseCode.Unauthenticated, reason: error.message, error });
  }

  #handle(frame: Frame): void {
    if (frame.event) this.#event(frame.event as keyof ConnectionEvents, frame.body ?? {});
    else this.#reply(frame);
  }

  #reply({ id, body, error }: Frame): void {
    const request = this.#requests.get(id);
    if (!request) return; // given up before, or a ping
    if (error) {
      request.reject(this.#requests.refusal(request, error.code, error.message));
    } else {
      const reply = body ?? {};
      this.#calls.replied(request.op, request.body, reply);
      request.resolve(reply);
    }
    this.#events.barrier()();
    this.#news.barrier()();
    if (error) return;
    if (request.op === 'call.sync') {
      this.#awake();
      this.#snapshot(body as Snapshot);
    } else if (request.op === 'call.invite' && request.sent > 1) {
      this.sync().catch(() => {}); // the call was made while this device was away, and may have been answered
    }
  }

  #event(name: keyof ConnectionEvents, body: unknown): void {
    switch (name) {
      case 'session.kicked':
        this.#news.push(() => this.emit(name, body as Kicked));
        return;
      case 'token.expiring':
        void this.#renew();
        this.#news.push(() => this.emit(name, body as TokenExpiring));
        return;
      case 'call.created':
      case 'call.invited':
      case 'call.users_changed':
      case 'call.cancelled':
      case 'call.timed_out':
      case 'call.answered_elsewhere':
      case 'call.ended':
        if (!this.#calls.admit(name, body as never)) return;
        this.#events.push(() => {
          if (name === 'call.invited') {
            const call = body as Call;
            if (!this.#calls.isShown(call.call_id)) return; // it was over before it could ring
            this.#ring(call);
          }
          this.emit(name, body as never);
        });
    }
  }

  // snapshot delivers what the server knows. Of a call that ended while its
  // user took part the record is fetched, since it says who answered.
  #snapshot({ calls, ended }: Snapshot): void {
    const event: SnapshotEvent = { calls, ended };
    const wanted = new Set(ended.filter(({ state, reason }) => state === UserState.Accepted && reason !== 'quit').map(({ call_id }) => call_id));
    if (wanted.size > 0) {
      const lift = this.#events.barrier();
      void this.#details(wanted)
        .then((records) => {
          event.ended = ended.map((end) => {
            const call = records.get(end.call_id);
            return call ? { ...end, call } : end;
          });
        })
        .finally(lift);
    }
    this.#events.push(() => {
      for (const call of event.calls) this.#ring(call);
      this.emit('snapshot', event);
    });
  }

  async #details(wanted: ReadonlySet<string>): Promise<Map<string, Call>> {
    const found = new Map<string, Call>();
    let next = 0;
    try {
      for (let page = 0; page < DETAIL_PAGES && found.size < wanted.size; page++) {
        const { calls, next_flag } = await this.request('call.query', next ? { count: 100, next_flag: next } : { count: 100 });
        for (const call of calls) if (wanted.has(call.call_id)) found.set(call.call_id, call);
        if (!next_flag) break;
        next = next_flag;
      }
    } catch {
      // The ends are told without the records.
    }
    return found;
  }

  // ring tells the server that the device rings, if it does not know yet.
  #ring(call: Call): void {
    if (this.#options.manualReceived) return;
    const state = call.users.find(({ user_id }) => user_id === this.#options.userID)?.state;
    if (state !== UserState.Inviting && state !== UserState.NotYetReceived) return;
    this.request('call.received', { call_id: call.call_id }).catch(() => {}); // nobody minds
  }

  async #renew(): Promise<void> {
    if (this.#renewing || typeof this.#token !== 'function') return;
    this.#renewing = true;
    try {
      await this.request('renew_token', { token: await this.#token() });
    } catch {
      // The server then closes with 4004, and the next login has a new token.
    }
    this.#renewing = false;
  }

  #transmit(request: Request): void {
    request.sent++;
    this.#socket?.send(request.frame);
  }

  // wake looks whether the connection has survived a sleep, and keeps events
  // back until it is known what is still true.
  #wake(): void {
    if (this.#state === 'reconnecting' && !this.#attempting) {
      this.#failures = 0;
      this.#again();
    }
    if (!this.#ready || this.#checking) return;
    this.#checking = true;
    this.#afterSleep ??= this.#events.barrier();
    const socket = this.#socket;
    this.sync({ timeout: CHECK_TIMEOUT })
      .catch((error: unknown) => {
        if (socket !== this.#socket) return; // lost meanwhile; the login tells
        if (error instanceof RingbackError && error.code === Code.RequestTimeout) this.#lose({ code: 0, reason: 'no answer after a sleep' });
        else this.#awake();
      })
      .finally(() => (this.#checking = false));
  }

  // awake lets events pass again.
  #awake(): void {
    this.#afterSleep?.();
    this.#afterSleep = undefined;
  }

  #closed(code: number, reason: string): void {
    const why = { code, reason };
    switch (code) {
      case CloseCode.Resumed:
        this.#session = undefined; // another has it now; come back as a device of one's own
        break;
      case CloseCode.TokenExpired:
        if (typeof this.#token === 'function') break;
        this.#end(why);
        return;
      case CloseCode.Logout:
      case CloseCode.Kicked:
        this.#session = undefined;
        this.#end(why);
        return;
      case CloseCode.Unauthenticated:
      case CloseCode.Protocol:
      case CloseCode.TooBig:
        this.#end(why);
        return;
    }
    this.#lose(why);
  }

  // lose is for a connection, or an attempt to make one, that came to nothing.
  #lose(why: { code: number; reason: string }, code: number = Code.NetworkError): void {
    if (this.#state === 'connecting') {
      this.#end(why, code);
      return;
    }
    if (this.#state === 'idle') return;
    const wasReady = this.#ready;
    this.#drop();
    if (wasReady) {
      if (Date.now() - this.#since >= STABLE_AFTER) this.#failures = 0;
      this.#state = 'reconnecting';
      this.#requests.lost();
      this.#news.push(() => this.emit('disconnected', { ...why, will_reconnect: true }));
    }
    this.#settleLogin?.(new RingbackError(code, why.reason));
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#again(), backoff(this.#failures++));
  }

  #again(): void {
    clearTimeout(this.#retry);
    this.#attempt().catch(() => {}); // lose or end has seen to it
  }

  // end is final until the app connects again.
  #end(why: { code: number; reason: string; error?: RingbackError }, code: number = Code.NetworkError): void {
    const first = this.#state === 'connecting';
    this.#state = 'idle';
    this.#drop();
    clearTimeout(this.#retry);
    this.#unwatch();
    const error = why.error ?? new RingbackError(first ? code : Code.NotLoggedIn, why.reason || `closed by the server (${why.code})`);
    this.#settleLogin?.(error);
    this.#requests.abandon(error);
    this.#awake();
    this.#news.barrier()();
    this.#news.push(() => this.emit('disconnected', { ...why, will_reconnect: false }));
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#ready = false;
    this.#early = [];
    this.#watchdog?.stop();
    this.#watchdog = undefined;
    socket?.close();
  }
}
