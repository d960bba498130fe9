// One device of one user: rings and is rung by Ringback, and opens a Peer for
// the media once a call is accepted. The offer travels in the invitation, the
// answer in the acceptance.
//
// Calls are in advanced mode: a general call is over for Ringback when it is
// accepted, and then nobody would tell the other side of hanging up.

import { openMedia } from './media.js';
import { Peer } from './peer.js';
import { RingbackClient, RingbackError, UserState } from './ringback.js';
import { unpack } from './signal.js';

const ADVANCED = 1; // mode
const RINGING = 30; // seconds
const BUSY = 'busy'; // extended data of a rejection
const PENDING = [UserState.Inviting, UserState.Received, UserState.NotYetReceived];
const OPEN_CALL = 'ringback.webrtc.call'; // in sessionStorage: the call of this page, should it be reloaded
const WITHOUT_MEDIA = 'The two browsers do not reach each other. Ringback has done its part: the call is accepted. '
  + 'On one network, look at firewalls and VPNs. Across the Internet WebRTC needs a TURN server: see ICE_SERVERS in peer.js.';

export class Phone {
  // The call on the screen, or null: {with, incoming, state, detail, note,
  // local, remote, sent, got}. state is 'preparing', 'calling', 'ringing',
  // 'connecting', 'connected' or 'failed'; sent and got are the bytes of the
  // descriptions that went through Ringback.
  call = null;
  online = false;
  problem = ''; // why it is not online, if it tells
  last = ''; // how the call before ended
  source = 'devices'; // for openMedia
  #user;
  #client;
  #onChange;

  // onChange is called after each change; token is for RingbackClient.
  constructor({ server, appID, user, token, onChange }) {
    this.#user = user;
    this.#onChange = onChange;
    this.#client = new RingbackClient({ server, appID, userID: user, token });
    this.#listen();
  }

  async connect() {
    await this.#client.connect();
  }

  // ring calls a user.
  ring(user) {
    if (this.call) return undefined;
    const call = this.#begin({ with: user, incoming: false, state: 'preparing', detail: this.#mayAsk });
    return this.#try(call, async () => {
      await this.#open(call);
      const offer = await call.peer.offer(call.media.stream);
      if (call.over) return;
      const { call_id } = await this.#client.invite({ user_ids: [user], mode: ADVANCED, timeout: RINGING, extended_data: offer });
      call.id = call_id;
      if (call.over) {
        this.#takeBack(call); // while the invitation was on its way
        return;
      }
      this.#enter(call, 'calling', { sent: offer.length });
    });
  }

  // accept answers the call that rings. The local description is complete
  // before anybody is told: once they are, the media may come.
  accept() {
    const { call } = this;
    if (call?.state !== 'ringing') return undefined;
    this.#enter(call, 'preparing', { detail: this.#mayAsk });
    return this.#try(call, async () => {
      await this.#open(call);
      const answer = await call.peer.answer(call.offer, call.media.stream);
      if (call.over) return;
      await this.#client.accept({ call_id: call.id, extended_data: answer });
      if (call.over) return;
      this.#joined(call, { sent: answer.length });
    });
  }

  // hangUp leaves the call, whatever its state: it cancels, rejects or ends.
  hangUp() {
    const { call } = this;
    if (!call) return;
    const rings = call.incoming && !call.joined;
    this.#finish(call, rings ? 'You rejected the call.' : call.joined ? 'You hung up.' : 'You cancelled the call.');
    if (call.id) this.#takeBack(call);
  }

  // leave is for a page that goes away. An unanswered call rings on: the page
  // may be back in a moment, or the user has another device.
  leave() {
    const { call } = this;
    if (call?.id && (call.joined || !call.incoming)) this.#takeBack(call);
  }

  // toggle mutes or unmutes tracks of a kind, and says whether they are on.
  toggle(kind) {
    const tracks = this.call?.media?.stream.getTracks().filter((track) => track.kind === kind) ?? [];
    for (const track of tracks) track.enabled = !track.enabled;
    return tracks.every((track) => track.enabled);
  }

  get #mayAsk() {
    return this.source === 'devices' ? 'If the browser asks, let it use the camera and the microphone.' : '';
  }

  // ---- a call

  #begin(call) {
    this.call = { detail: '', note: '', local: null, remote: null, ...call };
    this.last = '';
    this.#onChange();
    return this.call;
  }

  async #open(call) {
    const media = await openMedia(this.source, this.#user);
    if (call.over) {
      media.close();
      throw new Error('The call is over.');
    }
    call.media = media;
    call.peer = new Peer({
      onStream: (stream) => this.#enter(call, call.state, { remote: stream }),
      onState: (state) => call.joined && this.#enter(call, state, { detail: state === 'failed' ? WITHOUT_MEDIA : '' }),
    });
    this.#enter(call, call.state, { local: media.stream, note: media.note, detail: '' });
  }

  // try does the work of a call, which ends if that fails.
  async #try(call, work) {
    try {
      await work();
    } catch (error) {
      if (call.over) return;
      this.#finish(call, error instanceof RingbackError ? `${error.message} (${error.code})` : error.message);
      if (call.id) this.#takeBack(call);
    }
  }

  // joined: both sides have accepted, so the media may flow.
  #joined(call, change) {
    call.joined = true;
    sessionStorage.setItem(OPEN_CALL, call.id);
    this.#enter(call, 'connecting', change);
    call.peer.connecting();
  }

  #enter(call, state, change = {}) {
    if (call.over) return;
    Object.assign(call, { state }, change);
    this.#onChange();
  }

  #finish(call, how) {
    if (call.over) return;
    call.over = true;
    call.peer?.close();
    call.media?.close();
    sessionStorage.removeItem(OPEN_CALL);
    this.call = null;
    this.last = how;
    this.#onChange();
  }

  // takeBack tells Ringback that this user is done with a call. If an
  // acceptance was faster than a cancel or a reject, the call is ended.
  #takeBack({ id, incoming, joined }) {
    const action = { call_id: id };
    const end = () => this.#client.end(action);
    const done = joined ? end() : this.#client[incoming ? 'reject' : 'cancel'](action).catch(end);
    done.catch(() => {}); // it was over already
  }

  // ---- what Ringback says

  #listen() {
    const client = this.#client;
    const ofThis = (id) => (this.call?.id === id ? this.call : null);
    const over = (id, how) => {
      const call = ofThis(id);
      if (call) this.#finish(call, how(call));
    };
    client.on('connected', () => this.#link(true));
    client.on('disconnected', ({ reason, will_reconnect }) => this.#link(false, will_reconnect ? '' : reason));
    client.on('call.invited', (call) => this.#invited(call));
    client.on('call.users_changed', ({ call_id, users }) => this.#changed(ofThis(call_id), users));
    client.on('call.cancelled', ({ call_id }) => over(call_id, (call) => `${call.with} cancelled the call.`));
    client.on('call.timed_out', ({ call_id }) => over(call_id, (call) => `You missed a call of ${call.with}.`));
    client.on('call.answered_elsewhere', ({ call_id }) => over(call_id, () => 'You answered on another device.'));
    client.on('call.ended', ({ call_id, operator }) => over(call_id, () => (operator ? `${operator} hung up.` : 'The call is over.')));
    client.on('snapshot', ({ calls, ended }) => {
      for (const { call_id } of ended) over(call_id, () => 'The call ended while there was no connection to Ringback.');
      for (const call of calls) {
        this.#changed(ofThis(call.call_id), call.users);
        this.#forgotten(call);
        if (call.users.some(({ user_id, state }) => user_id === this.#user && PENDING.includes(state))) this.#invited(call);
      }
    });
  }

  #link(online, problem = '') {
    this.online = online;
    this.problem = problem;
    this.#onChange();
  }

  async #invited({ call_id, inviter, extended_data }) {
    const offer = await unpack('offer', extended_data);
    if (!offer) return; // of another app, which rings on its own devices
    if (this.call?.id === call_id || !this.#client.shownCalls.includes(call_id)) return; // told twice, or over meanwhile
    if (this.call) {
      this.#client.reject({ call_id, extended_data: BUSY }).catch(() => {}); // it is over then
      return;
    }
    this.#begin({ id: call_id, with: inviter, incoming: true, state: 'ringing', offer, got: extended_data.length });
  }

  // changed looks at what became of the other one in a call.
  async #changed(call, users) {
    const other = call && users.find(({ user_id }) => user_id === call.with);
    switch (other?.state) {
      case UserState.Received:
        if (call.state === 'calling') this.#enter(call, 'calling', { detail: 'It rings there.' });
        break;
      case UserState.Rejected:
        this.#finish(call, `${call.with} ${other.extended_data === BUSY ? 'is busy' : 'rejected the call'}.`);
        break;
      case UserState.Timeout:
        this.#finish(call, `${call.with} did not answer.`);
        break;
      case UserState.Quit:
        this.#finish(call, `${call.with} is gone.`);
        this.#takeBack(call); // a call of one
        break;
      case UserState.Accepted:
        if (!call.incoming && !call.joined) await this.#accepted(call, other.extended_data);
    }
  }

  // accepted takes the answer of the one who was rung.
  async #accepted(call, data) {
    this.#joined(call, { detail: '', got: data.length });
    const answer = await unpack('answer', data);
    try {
      if (!answer) throw new Error(`${call.with} accepted on a device that sent no WebRTC answer.`);
      await call.peer.complete(answer);
    } catch (error) {
      if (call.over) return;
      this.#finish(call, error.message);
      this.#takeBack(call);
    }
  }

  // forgotten ends the call that this page had before it was reloaded: its
  // media is gone.
  #forgotten({ call_id }) {
    if (this.call || sessionStorage.getItem(OPEN_CALL) !== call_id) return;
    sessionStorage.removeItem(OPEN_CALL);
    this.#takeBack({ id: call_id, joined: true });
  }
}
