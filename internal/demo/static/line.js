// The network of one phone. It hands the SDK ordinary WebSockets, watches the
// frames that pass, and can be cut.

const GONE = 4900; // a close code that means nothing to the server
const LOST = { code: 1006, reason: 'there is no network' };

// Line reports frames, heartbeats aside, to onFrame(way, frame); way is 'out'
// or 'in'.
export class Line {
  up = true;
  #sockets = new Set();
  #onFrame;

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  // socketClass is for the option webSocket of the SDK.
  get socketClass() {
    const line = this;
    return function LineSocket(url, protocol) {
      return line.up ? line.#dial(url, protocol) : new DeadSocket();
    };
  }

  // cut loses the connection, and keeps another from coming up. The SDK is not
  // to see the server's answer to the close: with no network there is none.
  cut() {
    this.up = false;
    for (const socket of this.#sockets) {
      const { onclose } = socket;
      socket.onclose = socket.onmessage = null;
      socket.close(GONE);
      onclose?.call(socket, LOST);
    }
  }

  // mend lets connections through again, and says so as a browser does.
  mend() {
    this.up = true;
    dispatchEvent(new Event('online'));
  }

  #dial(url, protocol) {
    const socket = new WebSocket(url, protocol);
    this.#sockets.add(socket);
    socket.addEventListener('close', () => this.#sockets.delete(socket));
    socket.addEventListener('message', ({ data }) => this.#show('in', data));
    socket.send = (data) => {
      WebSocket.prototype.send.call(socket, data);
      this.#show('out', data);
    };
    return socket;
  }

  #show(way, data) {
    const frame = JSON.parse(data);
    if (frame.id || frame.event) this.#onFrame(way, discreet(frame));
  }
}

// DeadSocket is a connection over a line that is cut.
class DeadSocket {
  readyState = WebSocket.CLOSED;
  onclose = null;

  constructor() {
    setTimeout(() => this.onclose?.(LOST));
  }

  send() {}
  close() {}
}

// discreet leaves a token out of what is shown.
function discreet(frame) {
  if (!frame.body?.token) return frame;
  return { ...frame, body: { ...frame.body, token: `${frame.body.token.slice(0, 6)}…` } };
}
