export { backoff } from './backoff.js';
export { RingbackClient } from './client.js';
export type {
  Connected, ConnectionEvents, ConnectionOptions, ConnectionState, Disconnected, RequestOptions, SnapshotEvent,
} from './connection.js';
export { ConnectionLostError, RingbackError } from './errors.js';
export { CloseCode, Code, UserState } from './protocol.js';
export type * from './protocol.js';
export type { SocketClass, SocketLike } from './socket.js';
export { VERSION } from './version.js';
export * from './zim/index.js';
