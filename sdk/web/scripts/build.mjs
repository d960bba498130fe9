// Builds dist: a module for each file with its types, and the one-file builds
// for browsers. With --check it fails when a committed one-file build is not
// what the sources give.
import { execFileSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const builds = [
  { outfile: 'dist/ringback.js', format: 'esm' },
  { outfile: 'dist/ringback.global.js', format: 'iife', globalName: 'Ringback' },
];

async function bundles() {
  const files = [];
  for (const options of builds) {
    const { outputFiles } = await build({
      absWorkingDir: root, entryPoints: ['src/index.ts'], bundle: true, minify: true, target: 'es2022', charset: 'utf8',
      legalComments: 'none', sourcemap: 'linked', write: false, banner: { js: '/*! Ringback web SDK, Apache-2.0 */' }, ...options,
    });
    files.push(...outputFiles);
  }
  return files;
}

if (process.argv.includes('--check')) {
  for (const { path, text } of await bundles()) {
    const have = await readFile(path, 'utf8').catch(() => '');
    if (have !== text) {
      console.error(`${path} is not what src gives: run npm run build and commit it`);
      process.exitCode = 1;
    }
  }
} else {
  await rm(new URL('../dist', import.meta.url), { recursive: true, force: true });
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
  for (const { path, contents } of await bundles()) await writeFile(path, contents);
}
