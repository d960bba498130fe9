// The media: one RTCPeerConnection, set up by one offer and one answer. There
// is nothing of Ringback in it.

import { pack } from './signal.js';

// Where a browser learns its public address (STUN) and has media relayed
// (TURN). On one machine and within one network none is needed. Across the
// Internet you need your own, with short-lived credentials from your backend:
// {urls: 'turn:turn.example.com', username: '…', credential: '…'}.
const ICE_SERVERS = [];

const GATHERING = 3000; // ms to wait for addresses; a STUN server that does not answer would take 10 s
const CONNECTING = 10_000; // ms until it is said that something is wrong

// What every browser knows. More codecs would not fit into extended data.
const CODECS = { audio: /^audio\/opus$/i, video: /^video\/(vp8|rtx)$/i };

export class Peer {
  #pc = new RTCPeerConnection({ iceServers: ICE_SERVERS, bundlePolicy: 'max-bundle' });
  #timer = 0;
  #onState;

  // onStream(stream) is told of the other side's picture and voice; onState of
  // 'connected', 'connecting' (again) and 'failed', which may still recover.
  constructor({ onStream, onState }) {
    this.#onState = onState;
    this.#pc.ontrack = ({ streams: [stream] }) => onStream(stream);
    this.#pc.onconnectionstatechange = () => this.#changed();
  }

  // offer gives the extended data of the invitation.
  async offer(stream) {
    for (const track of stream.getTracks()) {
      const transceiver = this.#pc.addTransceiver(track, { streams: [stream] });
      const codecs = RTCRtpReceiver.getCapabilities(track.kind).codecs.filter(({ mimeType }) => CODECS[track.kind].test(mimeType));
      if (codecs.length > 0) transceiver.setCodecPreferences?.(codecs);
    }
    return this.#describe();
  }

  // answer gives the extended data with which to accept.
  async answer(offer, stream) {
    await this.#pc.setRemoteDescription(offer);
    for (const track of stream.getTracks()) this.#pc.addTrack(track, stream);
    return this.#describe();
  }

  // complete takes the answer to the offer. Once is enough: later ones, as
  // after a reconnection to Ringback, are left out.
  async complete(answer) {
    if (this.#pc.signalingState !== 'have-local-offer') return;
    this.connecting();
    await this.#pc.setRemoteDescription(answer);
  }

  // connecting starts the clock: from now on both sides have what they need.
  connecting() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onState('failed'), CONNECTING);
    this.#changed();
  }

  // traffic says what has arrived so far.
  async traffic() {
    const sum = { bytes: 0, frames: 0 };
    for (const report of (await this.#pc.getStats()).values()) {
      if (report.type !== 'inbound-rtp') continue;
      sum.bytes += report.bytesReceived;
      sum.frames += report.framesDecoded ?? 0;
    }
    return sum;
  }

  close() {
    clearTimeout(this.#timer);
    this.#pc.onconnectionstatechange = this.#pc.ontrack = null;
    this.#pc.close();
  }

  // describe makes the local description, with all network addresses in it:
  // there is no second message for addresses that come late.
  async #describe() {
    await this.#pc.setLocalDescription();
    await gathered(this.#pc);
    return pack(this.#pc.localDescription);
  }

  #changed() {
    switch (this.#pc.connectionState) {
      case 'connected':
        clearTimeout(this.#timer);
        this.#onState('connected');
        break;
      case 'disconnected':
        this.#onState('connecting');
        break;
      case 'failed':
        clearTimeout(this.#timer);
        this.#onState('failed');
    }
  }
}

function gathered(pc) {
  return new Promise((resolve) => {
    const look = () => pc.iceGatheringState === 'complete' && resolve();
    pc.addEventListener('icegatheringstatechange', look);
    setTimeout(resolve, GATHERING);
    look();
  });
}
