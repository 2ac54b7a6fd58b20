import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** Where `make web` finds a running server. */
const server = process.env.GUARD_SERVER ?? 'http://127.0.0.1:8400';

/** Writes scripts and styles compressed as well, so that the server never compresses them. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    // After Vite itself, which still writes into scripts that load others.
    generateBundle: {
      order: 'post',
      handler(_, bundle) {
        for (const [fileName, file] of Object.entries(bundle)) {
          if (!/\.(js|css)$/.test(fileName)) continue;
          const source = Buffer.from(file.type === 'chunk' ? file.code : file.source);
          const params = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
          const emit = (ending: string, content: Uint8Array) =>
            this.emitFile({ type: 'asset', fileName: fileName + ending, source: content });
          emit('.br', brotliCompressSync(source, { params }));
          emit('.gz', gzipSync(source, { level: 9 }));
        }
      },
    },
  };
}

export default defineConfig({
  // The server puts the base path into <base> of index.html, so all paths are relative.
  base: './',
  plugins: [svelte(), compressed()],
  build: {
    target: 'es2022',
    // Browsers that know light-dark(), with which the tokens are written.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // The CSP allows data: for images only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    // The reference of the API is a page of the dashboard.
    proxy: Object.fromEntries(
      ['^/api/(?!docs$)', '/health', '/ready'].map((path) => [path, server]),
    ),
  },
  // Components run in the browser's build of Svelte.
  resolve: process.env.VITEST ? { conditions: ['browser'] } : {},
  test: {
    // Times in tests are in this zone, whatever the machine's is.
    env: { TZ: 'Europe/Berlin' },
    projects: [
      {
        extends: true,
        test: { name: 'components', environment: 'jsdom', include: ['src/**/*.test.ts'] },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          environment: 'node',
          include: ['browser/**/*.test.ts'],
          globalSetup: 'browser/world/setup.ts',
          // So much that only a test that hangs reaches it, on a slow machine as well.
          testTimeout: 600_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      // Measures; `make bench` runs it.
      ...(process.env.SPEED_SECONDS
        ? [
            {
              extends: true as const,
              test: {
                name: 'speed',
                environment: 'node' as const,
                include: ['browser/speed/*.speed.ts'],
                globalSetup: 'browser/world/setup.ts',
                testTimeout: 7_200_000,
                hookTimeout: 120_000,
              },
            },
          ]
        : []),
    ],
  },
});
