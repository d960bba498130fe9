// A small client of the protocol ringback.v1: requests and their replies,
// events, reconnecting, resuming. What a call means is not its concern.

const SUBPROTOCOL = 'ringback.v1';
const REPLY_TIMEOUT = 15_000; // ms
const RETRY_FIRST = 250; // ms; doubled with each failure
const RETRY_MOST = 8_000; // ms
const VERSIONS_KEPT = 500;

// Close codes after which a device stays away until its user acts.
const FINAL = {
  1000: 'logged out',
  1009: 'a frame was too large',
  4000: 'the server met a protocol error',
  4001: 'signed in somewhere else',
  4002: 'open in another tab',
  4003: 'the login was refused',
};

// Refusal is the error of a request that the server refused.
export class Refusal extends Error {
  constructor({ code, message }) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

// Lost is the error of a request whose reply can no longer come. Whether it
// took effect shows in the snapshot of the next login.
export class Lost extends Error {}

// Connection keeps one device connected. Its handlers:
//
//   credentials()         resolves to app_id, user_id, user_name and token
//   knownCalls()          IDs of the calls that the device shows
//   onState(state, why)   'offline' | 'connecting' | 'online' | 'waiting' | 'stopped'
//   onSnapshot(reply)     calls and ended of a login or sync
//   onEvent(name, body)   events of calls, old ones already dropped
//   onFrame(way, frame)   every frame but heartbeats; way is 'out' or 'in'
//
// 'waiting' is the pause before another attempt; 'offline' is what drop()
// leaves behind, 'stopped' a logout or a close after which it is the user's turn.
export class Connection {
  state = 'offline';
  #url;
  #handlers;
  #sessionKey;
  #socket = null;
  #generation = 0; // grows when what is under way is no longer wanted
  #ready = false; // the login has been answered
  #early = []; // events that came before that
  #nextID = 1;
  #pending = new Map(); // id → {resolve, reject, timer}
  #versions = new Map(); // call_id → the newest version seen
  #failures = 0;
  #retry = 0;
  #heartbeat = 0;
  #clock = 0; // server time minus own, in ms

  constructor(url, sessionKey, handlers) {
    this.#url = url;
    this.#sessionKey = sessionKey;
    this.#handlers = handlers;
    addEventListener('online', () => this.#hurry());
    document.addEventListener('visibilitychange', () => this.#hurry());
  }

  // sessionID is the session that the server gave to this tab. It outlives a
  // reload of the page.
  get sessionID() {
    return sessionStorage.getItem(this.#sessionKey);
  }

  // serverNow is the server's clock, as of the login.
  get serverNow() {
    return Date.now() + this.#clock;
  }

  // connect logs in, resuming the session if there is one, and stays connected.
  connect() {
    if (['connecting', 'online'].includes(this.state)) return;
    this.#failures = 0;
    this.#open();
  }

  // drop loses the connection as a tunnel would: no logout, the session stays.
  drop() {
    this.#abandon();
    this.#enter('offline');
  }

  // logout ends the session.
  async logout() {
    try {
      if (this.#ready) await this.request('logout', {});
    } finally {
      this.#forget();
      this.#abandon();
      this.#enter('stopped', FINAL[1000]);
    }
  }

  // sync asks for the truth about what the device shows.
  async sync() {
    const reply = await this.request('call.sync', { known_calls: this.#handlers.knownCalls() });
    this.#takeSnapshot(reply);
  }

  // request resolves to the body of the reply. It rejects with a Refusal or
  // with Lost.
  request(op, body) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN || (op !== 'login' && !this.#ready)) {
      return Promise.reject(new Lost('There is no connection to the server.'));
    }
    const id = this.#nextID++;
    const frame = { id, op, body };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Lost('The server did not answer.'));
      }, REPLY_TIMEOUT);
      this.#pending.set(id, { op, resolve, reject, timer });
      socket.send(JSON.stringify(frame));
      if (op !== 'ping') this.#handlers.onFrame('out', discreet(frame));
    });
  }

  async #open() {
    this.#abandon();
    const generation = this.#generation;
    this.#enter('connecting');
    let credentials;
    try {
      credentials = await this.#handlers.credentials();
    } catch (error) {
      if (generation === this.#generation) this.#later(error.message);
      return;
    }
    if (generation !== this.#generation) return;

    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    const current = () => socket === this.#socket;
    socket.onopen = () => current() && this.#login(socket, credentials);
    socket.onmessage = ({ data }) => current() && this.#receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => current() && this.#closed(code, reason);
  }

  async #login(socket, credentials) {
    const body = { ...credentials, platform: 'WEB', known_calls: this.#handlers.knownCalls() };
    if (this.sessionID) body.session_id = this.sessionID;
    let reply;
    try {
      reply = await this.request('login', body);
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error instanceof Refusal) this.#stop(error.message);
      else this.#lose(error.message);
      return;
    }
    if (socket !== this.#socket) return;
    sessionStorage.setItem(this.#sessionKey, reply.session_id);
    this.#clock = reply.server_time_ms - Date.now();
    this.#failures = 0;
    this.#ready = true;
    this.#takeSnapshot(reply);
    for (const frame of this.#early.splice(0)) this.#dispatch(frame);
    this.#keepAlive(reply.heartbeat_interval_ms);
    this.#enter('online');
  }

  // takeSnapshot takes the snapshot's versions for its own, older or not.
  #takeSnapshot({ calls, ended }) {
    for (const { call_id, version } of [...calls, ...ended]) this.#versions.set(call_id, version);
    this.#handlers.onSnapshot({ calls, ended });
  }

  #receive(frame) {
    if (frame.event) {
      this.#handlers.onFrame('in', frame);
      if (this.#ready) this.#dispatch(frame);
      else this.#early.push(frame);
      return;
    }
    const pending = this.#pending.get(frame.id);
    if (pending?.op !== 'ping') this.#handlers.onFrame('in', frame);
    if (!pending) return;
    this.#pending.delete(frame.id);
    clearTimeout(pending.timer);
    if (frame.error) {
      pending.reject(new Refusal(frame.error));
      return;
    }
    const body = frame.body ?? {};
    if (body.call_id) this.#isCurrent(body);
    pending.resolve(body);
  }

  #dispatch({ event, body = {} }) {
    switch (event) {
      case 'token.expiring':
        this.#renew();
        break;
      case 'session.kicked':
        this.#closed(4001); // which the server sends next
        break;
      default:
        if (this.#isCurrent(body)) this.#handlers.onEvent(event, body);
    }
  }

  // isCurrent reports whether a body is not older than what was seen of its
  // call, and takes note of its version.
  #isCurrent({ call_id, version }) {
    const newest = this.#versions.get(call_id) ?? 0;
    if (version < newest) return false;
    this.#versions.delete(call_id); // so that the map is in the order of use
    this.#versions.set(call_id, version);
    if (this.#versions.size > VERSIONS_KEPT) this.#versions.delete(this.#versions.keys().next().value);
    return true;
  }

  async #renew() {
    try {
      const { token } = await this.#handlers.credentials();
      await this.request('renew_token', { token });
    } catch {
      // The server then closes with 4004, and the next login has a new token.
    }
  }

  // keepAlive notices a server that has gone silent.
  #keepAlive(interval = 10_000) {
    let waiting = false;
    clearInterval(this.#heartbeat);
    this.#heartbeat = setInterval(() => {
      if (waiting) {
        this.#lose('the server went silent');
        return;
      }
      waiting = true;
      this.request('ping', {}).then(() => (waiting = false), () => {});
    }, interval);
  }

  #closed(code, reason) {
    if (code in FINAL) {
      if (code === 1000 || code === 4001) this.#forget();
      this.#stop(FINAL[code], reason);
    } else {
      this.#lose(reason);
    }
  }

  #stop(why) {
    this.#abandon();
    this.#enter('stopped', why);
  }

  #lose(why) {
    this.#abandon();
    this.#later(why);
  }

  // later tries again after a pause that doubles and is drawn at random, so
  // that many devices do not come back in step.
  #later(why) {
    const ceiling = Math.min(RETRY_MOST, RETRY_FIRST * 2 ** this.#failures++);
    this.#enter('waiting', why);
    this.#retry = setTimeout(() => this.#open(), ceiling * (0.5 + Math.random() / 2));
  }

  // hurry cuts the pause short when there is reason to hope.
  #hurry() {
    if (this.state === 'waiting' && !document.hidden) this.#open();
  }

  // abandon lets go of the socket and of all that waits for it.
  #abandon() {
    this.#generation++;
    const socket = this.#socket;
    this.#socket = null;
    this.#ready = false;
    this.#early = [];
    clearTimeout(this.#retry);
    clearInterval(this.#heartbeat);
    socket?.close();
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Lost('The connection was lost before the answer came.'));
    }
    this.#pending.clear();
  }

  #forget() {
    sessionStorage.removeItem(this.#sessionKey);
  }

  #enter(state, why = '') {
    this.state = state;
    this.#handlers.onState(state, why);
  }
}

// discreet leaves a token out of what is shown.
function discreet(frame) {
  if (!frame.body?.token) return frame;
  return { ...frame, body: { ...frame.body, token: `${frame.body.token.slice(0, 6)}…` } };
}
