import { PATH } from './protocol.js';

/** What the SDK uses of a WebSocket. */
export interface SocketLike {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** The class WebSocket of a browser, of Node 22, or of the package ws. */
export type SocketClass = new (url: string, protocols: string) => SocketLike;

/**
 * The WebSocket class to use: the one given, else the global one, else, in
 * Node 20, that of the package ws, which the app installs.
 */
export async function socketClass(given: SocketClass | undefined): Promise<SocketClass> {
  const found = given ?? (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (found) return found;
  const name = 'ws'; // not a literal below, so that bundlers for browsers leave it alone
  try {
    const module = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as { default: SocketClass };
    return module.default;
  } catch {
    throw new Error('there is no WebSocket here: use Node 22, install the package ws, or give the option webSocket');
  }
}

/** Turns the URL of a server into that of its WebSocket endpoint. */
export function endpoint(server: string): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  let url: URL;
  try {
    url = new URL(server, base);
  } catch {
    throw new Error(`the server URL ${JSON.stringify(server)} is not a URL: give one such as https://ring.example.com`);
  }
  const scheme = { 'http:': 'ws:', 'https:': 'wss:', 'ws:': 'ws:', 'wss:': 'wss:' }[url.protocol];
  if (!scheme) throw new Error(`the server URL ${JSON.stringify(server)} must begin with http, https, ws or wss`);
  url.protocol = scheme;
  if (url.pathname === '/') url.pathname = PATH;
  url.hash = '';
  return url.href;
}
