import { ConnectionLostError, RingbackError } from './errors.js';
import { Code, MAX_FRAME } from './protocol.js';
import type { Operations } from './protocol.js';

const MAX_PENDING = 256;
// A request that breaks connections is not sent for ever.
const MAX_REPEATS = 4;

// What may be sent again after a reconnection: always, because a repeat
// answers as the first did, or while the session is the same. Others not.
const REPEAT: Partial<Record<keyof Operations, 'always' | 'in session'>> = {
  renew_token: 'always',
  'call.sync': 'always',
  'call.invite': 'always', // by its request_id
  'call.received': 'always',
  'call.query': 'always',
  'call.cancel': 'in session',
  'call.accept': 'in session',
  'call.reject': 'in session',
  'call.quit': 'in session',
  'call.end': 'in session',
};

export interface Request {
  readonly id: number;
  readonly op: keyof Operations;
  readonly body: unknown;
  readonly frame: string;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
  sent: number;
  moved: boolean; // repeated in a session other than the first
  lift: (() => void)[]; // barriers that wait for it
}

/** The requests that wait for their replies, in the order in which they were made. */
export class Requests {
  #pending = new Map<number, Request>();
  #lastID = 0;

  nextID(): number {
    return ++this.#lastID;
  }

  /**
   * Adds a request, which is not sent by this, and gives the promise of its
   * reply. timeout is in milliseconds.
   */
  add<Op extends keyof Operations>(
    op: Op,
    body: Operations[Op][0],
    timeout: number,
    signal: AbortSignal | undefined,
  ): [Promise<Operations[Op][1]>, Request | undefined] {
    const failed = (error: unknown): [Promise<never>, undefined] => [Promise.reject(error), undefined];
    if (signal?.aborted) return failed(signal.reason);
    if (this.#pending.size >= MAX_PENDING) {
      return failed(new RingbackError(Code.TooManyRequests, `${MAX_PENDING} requests are waiting for their replies`));
    }
    const id = this.nextID();
    let frame: string;
    try {
      frame = JSON.stringify({ id, op, body });
    } catch (error) {
      return failed(new RingbackError(Code.InvalidParameter, `the body of ${op} cannot be JSON: ${error instanceof Error ? error.message : error}`));
    }
    if (frame.length > MAX_FRAME / 3 && new TextEncoder().encode(frame).length > MAX_FRAME) {
      return failed(new RingbackError(Code.InvalidParameter, `a request is over the limit of ${MAX_FRAME} bytes`));
    }
    let request: Request | undefined;
    const promise = new Promise<Operations[Op][1]>((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        this.#pending.delete(id);
        for (const lift of added.lift.splice(0)) lift();
      };
      const added: Request = {
        id, op, body, frame, sent: 0, moved: false, lift: [],
        resolve: (reply) => { done(); resolve(reply as Operations[Op][1]); },
        reject: (error) => { done(); reject(error); },
      };
      const timer = setTimeout(() => added.reject(new RingbackError(Code.RequestTimeout, `no answer to ${op} in ${timeout / 1000} s`)), timeout);
      const abort = () => added.reject(signal?.reason);
      signal?.addEventListener('abort', abort);
      this.#pending.set(id, (request = added));
    });
    return [promise, request];
  }

  get(id: number | undefined): Request | undefined {
    return this.#pending.get(id ?? 0);
  }

  all(): Request[] {
    return [...this.#pending.values()];
  }

  /** Fails what was sent on the lost connection and is not safe to repeat. */
  lost(): void {
    for (const request of this.all()) {
      if (request.sent > 0 && (!REPEAT[request.op] || request.sent > MAX_REPEATS)) request.reject(lostError());
    }
  }

  /** Fails everything. */
  abandon(error: RingbackError): void {
    for (const request of this.all()) request.reject(request.sent > 0 ? lostError() : error);
  }

  /**
   * The refusal of a request. A repeat in another session is also refused
   * when the first was heard.
   */
  refusal(request: Request, code: number, message: string): RingbackError {
    if (request.moved && REPEAT[request.op] === 'in session') {
      return new ConnectionLostError(code, `${message}; the connection had been lost, and what became of the first attempt is unknown`);
    }
    return new RingbackError(code, message);
  }
}

function lostError(): ConnectionLostError {
  return new ConnectionLostError(Code.NetworkError, 'the connection was lost, and what became of the request is unknown');
}
