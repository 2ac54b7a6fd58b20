/** Checks what a browser loads at first: at most 120 KB of gzipped script. Run after the build. */
import { readFileSync, statSync } from 'node:fs';

const BUDGET = 120_000;
const page = readFileSync('dist/index.html', 'utf8');
const scripts = [...page.matchAll(/(?:src|href)="\.?\/?([^"]+\.js)"/g)].map(([, path]) => path);
const bytes = scripts.reduce((sum, path) => sum + statSync(`dist/${path}.gz`).size, 0);
console.log(`scripts on first load: ${bytes} bytes gzipped, of ${BUDGET}`);
if (!scripts.length || bytes > BUDGET) process.exit(1);
