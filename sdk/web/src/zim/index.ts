export * from './enums.js';
export type * from './types.js';
export { ZIM } from './zim.js';
export type { ServerOptions } from './zim.js';
