/** A refusal by the server, or a failure on the way to it. */
export class RingbackError extends Error {
  /** One of the codes of the public ZIM error list. */
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.name = 'RingbackError';
    this.code = code;
  }
}

/**
 * The connection broke before the reply came, and repeating the request would
 * not be safe: whether it took effect is unknown. A sync or a query tells.
 */
export class ConnectionLostError extends RingbackError {
  constructor(code: number, message: string) {
    super(code, message);
    this.name = 'ConnectionLostError';
  }
}
