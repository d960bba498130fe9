// Runs the tests: of test, or of test/integration, which need a built server
// (RINGBACK_TEST_BINARY, or else Go to build one).
import { spawn } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const [kind = 'unit', ...only] = process.argv.slice(2);
const root = fileURLToPath(new URL('..', import.meta.url));
const from = kind === 'integration' ? 'test/integration' : 'test';
const to = `.test/${kind}`;

await rm(root + to, { recursive: true, force: true });
await mkdir(root + to, { recursive: true });
const tests = (await readdir(root + from))
  .filter((name) => name.endsWith('.test.ts'))
  .filter((name) => only.length === 0 || only.some((part) => name.includes(part)));
if (tests.length === 0) throw new Error(`no tests in ${from}`);
await build({
  absWorkingDir: root, entryPoints: tests.map((name) => `${from}/${name}`), outdir: to, bundle: true, format: 'esm', platform: 'node',
  target: 'node20', packages: 'external', sourcemap: 'inline', outExtension: { '.js': '.mjs' },
});
const files = tests.map((name) => `${to}/${name.replace(/\.ts$/, '.mjs')}`);
const limit = kind === 'integration' ? 300_000 : 60_000;
const run = spawn(process.execPath, ['--enable-source-maps', '--test', `--test-timeout=${limit}`, '--test-concurrency=3', ...files], {
  cwd: root, stdio: 'inherit',
});
run.on('exit', (code) => (process.exitCode = code ?? 1));
