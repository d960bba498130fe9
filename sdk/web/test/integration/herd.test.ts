import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Device, Proxy, Server, until } from './server.js';

const CLIENTS = 1000;
const WITHIN = 10_000; // ms

test(`${CLIENTS} clients come back after a restart of the server, not all at once`, async () => {
  const server = await Server.start();
  after(() => server.stop());
  // Through a proxy, so that the moment at which the server is back is known.
  const proxy = await Proxy.start(server.port);
  after(() => proxy.stop());
  const devices = Array.from({ length: CLIENTS }, (_, n) => new Device(proxy.url, `user${n}`));
  after(() => { for (const device of devices) device.close(); });
  for (let n = 0; n < CLIENTS; n += 50) await Promise.all(devices.slice(n, n + 50).map((device) => device.connect()));
  const sessions = devices.map((device) => device.sessionID);

  proxy.mode = 'refuse';
  await server.down();
  await until(() => devices.every((device) => device.state === 'reconnecting'));
  await server.up();
  const back: number[] = [];
  for (const device of devices) device.on('connected', () => back.push(performance.now()));
  const start = performance.now();
  proxy.mode = 'open';
  await until(() => devices.every((device) => device.state === 'connected'));

  const last = Math.max(...back) - start;
  assert.ok(last < WITHIN, `the last was back after ${Math.round(last)} ms`);
  assert.deepEqual(devices.map((device) => device.sessionID), sessions, 'not every session was resumed');
  // No herd: the busiest tenth of a second sees a small part of the clients.
  const tenths = new Map<number, number>();
  for (const at of back) tenths.set(Math.floor(at / 100), (tenths.get(Math.floor(at / 100)) ?? 0) + 1);
  const busiest = Math.max(...tenths.values());
  assert.ok(busiest < CLIENTS / 3, `${busiest} of ${CLIENTS} came back within a tenth of a second`);
});
