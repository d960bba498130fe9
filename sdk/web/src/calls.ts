import { isPending, UserState } from './protocol.js';
import type { Call, CallEvents, CallUser, Operations, Snapshot } from './protocol.js';

const MAX_LIVE = 1024; // calls that the device may show; the oldest is forgotten
const MAX_OVER = 64; // calls over, remembered for events that come late

interface State {
  version: number;
  told: Set<string>; // events delivered at this version
  live: boolean; // the device shows it
  mode: number;
  users: Map<string, number> | undefined; // states; undefined when unknown
}

/**
 * What a device knows of its calls: the version of each, so that old news is
 * dropped, and whether the device still shows it, so that the server can say
 * how it ended.
 */
export class Calls {
  readonly #self: string;
  #live = new Map<string, State>(); // in the order in which they were shown
  #over = new Map<string, State>(); // longest over first

  constructor(self: string) {
    this.#self = self;
  }

  /** The calls that the device still shows, oldest first. */
  shown(): string[] {
    return [...this.#live.keys()];
  }

  isShown(id: string): boolean {
    return this.#live.has(id);
  }

  /** Begins anew with calls of an earlier client. */
  restore(ids: readonly string[]): void {
    for (const id of ids) this.#show(id, this.#state(id));
  }

  /** Takes note of an event, and says whether it is news. */
  admit<K extends keyof CallEvents>(name: K, body: CallEvents[K]): boolean {
    // States may be said again at one version; happenings may not.
    const once = name === 'call.users_changed' ? undefined : name;
    const state = this.#see(body.call_id, body.version, once);
    if (!state) return false;
    switch (name) {
      case 'call.created':
      case 'call.invited':
        this.#fill(state, body as Call);
        break;
      case 'call.users_changed':
        this.#change(body.call_id, state, (body as CallEvents['call.users_changed']).users);
        break;
      default:
        this.#hide(body.call_id, state);
    }
    return true;
  }

  /** Takes note of the reply to a request. */
  replied(op: keyof Operations, request: unknown, reply: unknown): void {
    if (op === 'call.sync') {
      this.adopt(reply as Snapshot);
      return;
    }
    const { call_id: id, version } = reply as { call_id?: string; version?: number };
    if (id === undefined || version === undefined) return;
    const state = this.#see(id, version);
    if (!state) return;
    switch (op) {
      case 'call.invite':
        this.#show(id, state);
        break;
      case 'call.join':
        this.#fill(state, reply as Call);
        break;
      case 'call.cancel':
        if (!(request as { user_ids?: string[] }).user_ids?.length) this.#hide(id, state);
        break;
      case 'call.reject':
      case 'call.quit':
      case 'call.end':
        this.#hide(id, state);
    }
  }

  /**
   * Takes the versions of a snapshot for its own, older or not, and takes the
   * ends out of it that the app has been told of: a sync may say them that was
   * on its way when they came by an event, or by the snapshot of a login.
   */
  adopt(snapshot: Snapshot): void {
    const everything = ['call.created', 'call.invited', 'call.cancelled', 'call.timed_out', 'call.answered_elsewhere', 'call.ended'];
    for (const call of snapshot.calls) {
      const state = this.#state(call.call_id);
      state.version = call.version;
      state.told = new Set(everything);
      this.#fill(state, call);
    }
    snapshot.ended = snapshot.ended.filter(({ call_id }) => !this.#over.has(call_id));
    for (const { call_id, version } of snapshot.ended) {
      const state = this.#state(call_id);
      state.version = version;
      state.told = new Set(everything);
      this.#hide(call_id, state);
    }
  }

  // see gives the state of a call with its version raised to the one given,
  // or undefined when that version, or the thing at it, is old.
  #see(id: string, version: number, once?: string): State | undefined {
    const known = this.#live.get(id) ?? this.#over.get(id);
    const state = known ?? this.#state(id);
    if (!known || version > state.version) {
      state.version = version;
      state.told.clear();
    } else if (version < state.version || (once && state.told.has(once))) {
      return undefined;
    }
    if (once) state.told.add(once);
    return state;
  }

  // state gives the state of a call, a new one that is over if it is unknown.
  #state(id: string): State {
    let state = this.#live.get(id) ?? this.#over.get(id);
    if (!state) {
      state = { version: 0, told: new Set(), live: false, mode: 0, users: undefined };
      this.#bury(id, state);
    }
    return state;
  }

  #fill(state: State, call: Call): void {
    state.mode = call.mode;
    state.users = new Map();
    this.#show(call.call_id, state);
    this.#change(call.call_id, state, call.users);
  }

  // change notes states of users, and that the call is over for this device
  // when they say so: the user is out, or it is a general call and nobody is
  // pending any more.
  #change(id: string, state: State, users: readonly CallUser[]): void {
    for (const user of users) {
      if (user.user_id === this.#self && !isPending(user.state) && user.state !== UserState.Accepted) this.#hide(id, state);
      state.users?.set(user.user_id, user.state);
    }
    if (state.mode === 0 && state.users && ![...state.users.values()].some(isPending)) this.#hide(id, state);
  }

  #show(id: string, state: State): void {
    if (state.live) return;
    this.#over.delete(id);
    state.live = true;
    this.#live.set(id, state);
    trim(this.#live, MAX_LIVE);
  }

  #hide(id: string, state: State): void {
    state.users = undefined;
    if (!state.live) return;
    state.live = false;
    this.#live.delete(id);
    this.#bury(id, state);
  }

  #bury(id: string, state: State): void {
    this.#over.set(id, state);
    trim(this.#over, MAX_OVER);
  }
}

/** Takes the oldest entries out of a map that has more than most. */
export function trim(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
