import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RingbackClient } from '../../src/index.js';
import type { ConnectionEvents, ConnectionOptions } from '../../src/index.js';

export const APP_ID = 1;
const SECRET = '0123456789abcdef0123456789abcdef';
const PATIENCE = 60_000; // ms, for what must come

let built: string | undefined;

// binary is the server: that of RINGBACK_TEST_BINARY, or one built for this process.
function binary(): string {
  if (process.env['RINGBACK_TEST_BINARY']) return process.env['RINGBACK_TEST_BINARY'];
  if (!built) {
    const dir = mkdtempSync(join(tmpdir(), 'ringback-sdk-bin-'));
    process.on('exit', () => execFileSync('rm', ['-rf', dir]));
    built = join(dir, 'ringback');
    execFileSync('go', ['build', '-o', built, './cmd/ringback'], { cwd: join(process.cwd(), '../..'), stdio: 'inherit' });
  }
  return built;
}

/** A login token. */
export function token(user: string, seconds = 3600): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, aud: String(APP_ID), exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A Ringback server on a loopback port, with a database that survives its restarts. */
export class Server {
  readonly port: number;
  readonly url: string;
  readonly #dir = mkdtempSync(join(tmpdir(), 'ringback-sdk-'));
  readonly #config: string;
  #process: ChildProcess | undefined;

  private constructor(port: number, app: string) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#config = join(this.#dir, 'ringback.yaml');
    writeFileSync(this.#config, `
listen: 127.0.0.1:${port}
data_dir: ${join(this.#dir, 'data')}
apps:
  - id: ${APP_ID}
    secret: ${SECRET}
${app}
`);
  }

  static async start(app = '    login_policy: multi'): Promise<Server> {
    const server = new Server(await freePort(), app);
    await server.up();
    return server;
  }

  async up(): Promise<void> {
    const child = spawn(binary(), ['serve', '--config', this.#config, '--log-level', 'warn'], { stdio: ['ignore', 'inherit', 'inherit'] });
    this.#process = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
      return (await fetch(`${this.url}/readyz`).catch(() => undefined))?.ok;
    });
  }

  async down(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }

  async stop(): Promise<void> {
    await this.down();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

/** Waits until a condition holds. */
export async function until<T>(condition: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (Date.now() > deadline) throw new Error(`it did not happen: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A TCP proxy that can fail as networks do. */
export class Proxy {
  readonly #server: net.Server;
  readonly #pairs = new Set<[net.Socket, net.Socket]>();
  mode: 'open' | 'refuse' | 'silent' = 'open';
  /** What the server says is swallowed. */
  deaf = false;
  url = '';

  private constructor(target: number) {
    this.#server = net.createServer((near) => {
      near.on('error', () => {});
      if (this.mode === 'refuse') {
        near.destroy();
        return;
      }
      const far = net.connect(target, '127.0.0.1');
      far.on('error', () => near.destroy());
      const pair: [net.Socket, net.Socket] = [near, far];
      this.#pairs.add(pair);
      near.on('data', (data) => this.mode === 'open' && far.write(data));
      far.on('data', (data) => this.mode === 'open' && !this.deaf && near.write(data));
      near.on('close', () => { this.#pairs.delete(pair); far.destroy(); });
      far.on('close', () => near.destroy());
    });
  }

  static async start(target: number): Promise<Proxy> {
    const proxy = new Proxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await new Promise((resolve) => proxy.#server.once('listening', resolve));
    proxy.url = `http://127.0.0.1:${(proxy.#server.address() as net.AddressInfo).port}`;
    return proxy;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Breaks every connection, and those to come until mode is open again. */
  cut(): void {
    this.mode = 'refuse';
    for (const [near, far] of this.#pairs) { near.destroy(); far.destroy(); }
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A client that keeps its events. */
export class Device extends RingbackClient {
  readonly seen: [string, any][] = [];

  constructor(server: string, userID: string, options: Partial<ConnectionOptions> = {}) {
    super({ server, appID: APP_ID, userID, token: () => token(userID), ...options });
    const names: (keyof ConnectionEvents)[] = [
      'connected', 'disconnected', 'snapshot', 'session.kicked', 'token.expiring', 'call.created', 'call.invited', 'call.users_changed',
      'call.cancelled', 'call.timed_out', 'call.answered_elsewhere', 'call.ended',
    ];
    for (const name of names) this.on(name, (data) => this.seen.push([name, data]));
  }

  /** Waits for an event that the condition holds for. */
  async event<K extends keyof ConnectionEvents>(name: K, condition: (data: ConnectionEvents[K]) => boolean = () => true): Promise<ConnectionEvents[K]> {
    const [, data] = await until(() => this.seen.find(([seen, data]) => seen === name && condition(data)));
    return data;
  }

  names(): string[] {
    return this.seen.map(([name]) => name);
  }
}
