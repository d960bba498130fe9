import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { VERSION } from '../src/index.js';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));

async function bundle(contents: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: process.cwd(), loader: 'ts' }, bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
  });
  return outputFiles[0]?.text ?? '';
}

test('the version is that of the package', () => assert.equal(VERSION, manifest.version));

test('there are no runtime dependencies', () => {
  assert.equal(manifest.dependencies, undefined);
  assert.deepEqual(Object.keys(manifest.peerDependenciesMeta), Object.keys(manifest.peerDependencies));
});

test('the ZIM face is at most 15 KiB', async () => {
  const size = gzipSync(await bundle("export * from './src/zim/index.js'"), { level: 9 }).length;
  assert.ok(size <= 15 * 1024, `${size} bytes with gzip`);
  const all = gzipSync(readFileSync('dist/ringback.global.js'), { level: 9 }).length;
  assert.ok(all <= 15 * 1024, `the one-file build has ${all} bytes with gzip`);
});

test('who uses the native face alone does not carry the other', async () => {
  const native = await bundle("import { RingbackClient } from './src/index.js'; console.log(RingbackClient)");
  assert.ok(!native.includes('callInvitationReceived') && !native.includes('createGroup'));
});

test('the one-file builds have both faces, and leave one global at most', async () => {
  const context = vm.createContext({ console });
  const before = Object.keys(context);
  vm.runInContext(readFileSync('dist/ringback.global.js', 'utf8'), context);
  vm.runInContext('globalThis.Ringback = Ringback', context);
  assert.deepEqual(Object.keys(context).filter((key) => !before.includes(key)), ['Ringback']);
  const module = await import(`${process.cwd()}/dist/ringback.js`);
  for (const face of [context['Ringback'], module]) {
    for (const name of ['RingbackClient', 'ZIM', 'ZIMCallInvitationMode', 'ZIMCallState', 'ZIMCallUserState', 'ZIMConnectionState', 'ZIMConnectionEvent', 'ZIMErrorCode']) {
      assert.ok(face[name], name);
    }
    assert.equal(face.ZIMCallUserState.BeCancelled, 10);
    assert.equal(face.ZIM.getInstance(), null);
  }
});
