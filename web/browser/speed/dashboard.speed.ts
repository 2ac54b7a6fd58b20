/**
 * How fast the dashboard is, for `make bench BENCH="--case dashboard"`. Needs a release build of guard-server, named by
 * GUARD_SERVER_BIN. Writes its figures as JSON to the file that SPEED_RESULTS names.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { test } from '../test';
import type { Guard } from '../world/guard';

const SECONDS = Number(process.env.SPEED_SECONDS ?? 120);
const RATE = 500;
/** As many as fit into a published document of 1 MiB. */
const BANS = 60_000;
const ROUNDS = 5;
const figures: Record<string, number> = {};

const median = (values: number[]) =>
  values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** When an element was there, and when the answer of a call was, in milliseconds since the navigation began. */
async function opens(page: Page, url: string, selector: string, call: string) {
  await page.addInitScript((wanted) => {
    const look = () => {
      if (document.querySelector(wanted)) window.shownAt = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }, selector);
  await page.goto(url, { waitUntil: 'commit' });
  await page.waitForFunction(() => window.shownAt > 0);
  return page.evaluate((part) => {
    const all = performance.getEntriesByType('resource') as PerformanceResourceTiming[];
    const answers = all.filter(({ name }) => name.includes(part));
    return { shown: window.shownAt, data: Math.max(...answers.map((it) => it.responseEnd)) };
  }, call);
}

test('the pages open', async ({ visit, guard }) => {
  const ip_blacklist = Array.from(
    { length: BANS },
    (_, at) => `1.${at >> 16}.${(at >> 8) & 255}.${at & 255}`,
  );
  await guard.key('banned');
  const published = { document: { ip_blacklist }, confirm: true };
  await guard.api('PUT', 'projects/banned/rules/published', published);
  for (const [name, path, selector, call] of [
    ['overview', 'p/shop/overview', '.tile', '/overview?'],
    ['events', 'p/shop/events', 'tbody tr', '/events?'],
    ['rules', 'p/banned/rules', 'tbody tr', '/in-force?'],
  ] as const) {
    const times = [];
    for (let round = 0; round < ROUNDS; round++) {
      const { page } = await visit();
      times.push(await opens(page, `${guard.url}/${path}`, selector, call));
      await page.close();
    }
    figures[`${name}_ms`] = median(times.map(({ shown }) => shown));
    figures[`${name}_drawn_ms`] = median(times.map(({ shown, data }) => shown - data));
  }
});

test('a change of the filter shows a new picture', async ({ visit, guard }) => {
  const { page, go } = await visit();
  await go('p/shop/overview');
  const filter = 'country:RU';
  const begun = performance.now();
  await guard.get(`projects/shop/overview?filter=${encodeURIComponent(filter)}&from=-24h&to=now`);
  figures.filter_api_ms = performance.now() - begun;
  figures.filter_ms = await page.evaluate(async () => {
    const blocked = () => document.querySelectorAll('.tile .big')[1]?.textContent;
    const before = blocked();
    const begin = performance.now();
    const rows = [...document.querySelectorAll<HTMLButtonElement>('li[data-row] button.key')];
    rows.find((button) => button.textContent === 'RU')?.click();
    while (blocked() === before) await new Promise(requestAnimationFrame);
    return performance.now() - begin;
  });
});

/** Sends events at the rate, one in a hundred of them with an action that the page looks for. */
async function feed(guard: Guard, key: string, seconds: number): Promise<void> {
  const begin = Date.now();
  for (let sent = 0; sent < seconds * RATE; sent += RATE / 10) {
    await pause(Math.max(0, begin + (sent / RATE) * 1000 - Date.now()));
    const events = Array.from({ length: RATE / 10 }, (_, at) => ({
      timestamp: new Date().toISOString(),
      event_type: 'rate_limited',
      ip_address: `203.0.113.${at}`,
      action_taken: (sent + at) % 100 ? 'request_blocked' : 'banned',
      reason: `Rate limit exceeded: ${sent + at}`,
      endpoint: '/login',
      method: 'POST',
      idempotency_key: crypto.randomUUID(),
    }));
    const body = {
      project_id: 'x',
      batch_id: `${sent}`,
      created_at: new Date(),
      events,
      metrics: [],
    };
    await fetch(`${guard.url}/api/v1/events`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
  }
}

/** Begins to measure the longest time between two frames. */
function watchFrames(): void {
  let last = performance.now();
  Object.assign(window, { longest: 0 });
  const frame = (now: number) => {
    window.longest = Math.max(window.longest, now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

declare global {
  interface Window {
    longest: number;
    shownAt: number;
  }
}

test.for([
  ['rare', 'action_taken%3Abanned'],
  ['all', ''],
] as const)('the live view follows: %s', async ([name, filter], { visit, guard }) => {
  const key = await guard.key('stream');
  const { page, go } = await visit();
  const devtools = await page.context().newCDPSession(page);
  const heap = async () => {
    await devtools.send('HeapProfiler.collectGarbage');
    const { usedSize } = await devtools.send('Runtime.getHeapUsage');
    return usedSize / 2 ** 20;
  };
  await go(`p/stream/events?live=1&filter=${filter}`);
  await page.getByText(/newest 0/).waitFor();
  // How smooth the machine is by itself.
  await page.evaluate(watchFrames);
  await pause(10_000);
  figures.idle_frame_ms = await page.evaluate(() => window.longest);
  // What a page needs once is not growth.
  await feed(guard, key, 10);
  figures[`${name}_heap_begin_mib`] = await heap();
  await page.evaluate(watchFrames);
  await feed(guard, key, SECONDS);
  figures[`${name}_frame_ms`] = await page.evaluate(() => window.longest);
  figures[`${name}_heap_end_mib`] = await heap();
  figures[`${name}_rows`] = await page.locator('tbody tr').count();
});

test('a table of 10,000 rows scrolls', async ({ visit }) => {
  const { page, go } = await visit();
  await go('p/stream/events');
  const older = page.getByRole('button', { name: 'Load older events' });
  while (await older.isVisible()) {
    await older.click();
    await page.waitForFunction(() => !document.querySelector('p > button:disabled'));
  }
  figures.scroll_rows = Number(await page.getByRole('table').getAttribute('aria-rowcount')) - 1;
  await page.evaluate(() => scrollTo(0, 0));
  const frames = await page.evaluate(
    () =>
      new Promise<number[]>((done) => {
        const times: number[] = [];
        let last = performance.now();
        const frame = (now: number) => {
          times.push(now - last);
          last = now;
          scrollBy(0, 120);
          if (times.length < 600) requestAnimationFrame(frame);
          else done(times.slice(1));
        };
        requestAnimationFrame(frame);
      }),
  );
  const total = frames.reduce((sum, it) => sum + it, 0);
  figures.scroll_frames_per_s = (1000 * frames.length) / total;
  figures.scroll_frame_ms = Math.max(...frames);
});

test('the figures are kept', () => {
  const text = JSON.stringify(figures, null, 2);
  console.log(text);
  if (process.env.SPEED_RESULTS) writeFileSync(process.env.SPEED_RESULTS, text);
});
