/** What holds on every page, in both themes, on a phone and on a desk. Screenshots are kept. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launch, open, seriousProblems, settled, sideways } from './browser';
import { FakeServer } from './server';

const SHOTS = join(import.meta.dirname, '../../.build/screenshots');
const PAGES = [
  ['overview', 'p/shop/overview'],
  ['events', 'p/shop/events?filter=action_taken%3Arequest_blocked+-country%3ADE'],
  ['event', 'p/shop/events?event=e3'],
  ['address', 'p/shop/address/203.0.113.7'],
  ['rules', 'p/shop/rules'],
  ['rules-document', 'p/shop/rules?tab=document'],
  ['rules-versions', 'p/shop/rules?tab=versions'],
  ['rules-adoption', 'p/shop/rules?tab=adoption'],
  ['rules-emergency', 'p/shop/rules?tab=emergency'],
  ['passive', 'p/shop/passive'],
  ['agents', 'p/shop/agents'],
  ['settings-project', 'p/shop/settings'],
  ['settings-keys', 'p/shop/settings?tab=keys'],
  ['settings-people', 'p/shop/settings?tab=people'],
  ['settings-tokens', 'p/shop/settings?tab=tokens'],
  ['settings-audit', 'p/shop/settings?tab=audit'],
  ['settings-account', 'p/shop/settings?tab=account'],
  ['projects', 'projects'],
  ['sign-in', 'sign-in?back=p/shop/events'],
  ['setup', 'setup?token=abc'],
  ['api', 'api/docs#add_view'],
] as const;

let browser: Browser;
let server: FakeServer;

beforeAll(async () => {
  mkdirSync(SHOTS, { recursive: true });
  [browser, server] = await Promise.all([launch(), FakeServer.start()]);
});
afterAll(async () => {
  server.stop();
  await browser.close();
});

describe.each(['light', 'dark'] as const)('in the %s theme', (colorScheme) => {
  it.each([1440, 360])('all pages are sound at %i pixels', async (width) => {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const { page, complaints } = await open(context);
    const problems: string[] = [];
    for (const [name, path] of PAGES) {
      await page.goto(server.url + path);
      await settled(page);
      for (const alert of await page.getByText('This could not be loaded').all()) {
        problems.push(`${name}: ${(await alert.locator('..').textContent()) ?? ''}`);
      }
      if ((await sideways(page)) > 0) problems.push(`${name} scrolls sideways`);
      if (width === 1440) {
        problems.push(...(await seriousProblems(page)).map((it) => `${name}: ${it}`));
      }
      // The fixtures have an attack in each field. It is text on the page, and nothing else.
      const hacked = await page.evaluate(() => 'hacked' in window || document.querySelector('img'));
      if (hacked) problems.push(`${name} took data for markup`);
      const file = join(SHOTS, `${name}-${colorScheme}-${width}.png`);
      await page.screenshot({ path: file, fullPage: name !== 'event' });
    }
    await context.close();
    expect(problems).toEqual([]);
    // The Content-Security-Policy had nothing to refuse.
    expect(complaints).toEqual([]);
  });
});
