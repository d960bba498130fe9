import type { Frame, LoginReply, RequestFrame } from '../src/index.js';

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error('nothing was opened');
    return last;
  }

  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly sent: RequestFrame[] = [];

  constructor(readonly url: string, readonly protocol: string) {
    FakeSocket.all.push(this);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data) as RequestFrame);
  }

  close(): void {
    this.readyState = 3;
  }

  // What the server does.

  open(): void {
    this.readyState = 1;
    this.onopen?.({} as never);
  }

  say(frame: Frame): void {
    this.onmessage?.({ data: JSON.stringify(frame) } as never);
  }

  event(event: string, body: unknown): void {
    this.say({ event, body });
  }

  reply(op: string, body: unknown): void {
    this.say({ id: this.request(op).id ?? 0, body });
  }

  refuse(op: string, code: number): void {
    this.say({ id: this.request(op).id ?? 0, error: { code, message: 'no' } });
  }

  /** The newest request of an operation. */
  request(op: string): RequestFrame {
    const found = this.sent.findLast((frame) => frame.op === op);
    if (!found) throw new Error(`no ${op} among ${this.ops().join()}`);
    return found;
  }

  ops(): string[] {
    return this.sent.map(({ op }) => op);
  }

  welcome(reply: Partial<LoginReply> = {}): void {
    this.open();
    this.reply('login', { session_id: 's1', resumed: false, server_time_ms: 1, heartbeat_interval_ms: 10_000, calls: [], ended: [], ...reply });
  }

  fail(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' } as never);
  }
}

/** Lets promises and what waits for a task of its own run. */
export async function settle(): Promise<void> {
  for (let n = 0; n < 4; n++) await new Promise((resolve) => setImmediate(resolve));
}
