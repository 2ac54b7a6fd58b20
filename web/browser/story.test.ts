/** What happened, as one timeline: to read, to copy and to print. */
import type { Page } from 'playwright-core';
import type { Series, Top } from '../src/lib/types';
import { count } from '../src/lib/format';
import { sideways } from './browser';
import { expect, test } from './test';
import { ATTACKERS, BEHAVIOUR } from './world/history';

const KEY = 'metadata.guard.behavior.correlation_key';

/** The rows of the table that "Copy as Markdown" puts on the clipboard. */
async function copied(page: Page): Promise<string[]> {
  await page.getByRole('button', { name: 'Copy as Markdown' }).click();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  return text.split('\n').filter((line) => /^\| \d/.test(line));
}

test('a row leads to the story of its address, which can be copied as Markdown', async ({
  visit,
}) => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const { page, go, path } = await visit({ permissions });
  await go('p/shop/overview');
  const row = page.locator('li[data-row]').filter({ hasText: ATTACKERS[0] }).first();
  await row.hover();
  await row.getByRole('link', { name: `Open ${ATTACKERS[0]}` }).click();
  const lines = await copied(page);
  expect(path()).toBe(`p/shop/address/${ATTACKERS[0]}`);
  // First the probes, then the ban, then what came after it.
  const ban = lines.findIndex((line) => line.includes('ip\\_banned'));
  expect(ban).toBeGreaterThan(0);
  expect(ban).toBeLessThan(lines.length - 1);
  expect(lines[0]).toContain('SQL injection: union select');
});

test('an event leads to the story of its correlation key, with all addresses behind it', async ({
  visit,
  guard,
}) => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const { page, go, path } = await visit({ permissions });
  await go(`p/shop/events?filter=ip_address:${ATTACKERS[0]} reason:*union*`);
  await page.locator('tr[data-row]').first().click();
  await page.getByRole('link', { name: 'Story' }).click();
  await page.getByRole('heading', { name: `Story of the correlation key ${BEHAVIOUR}` }).waitFor();
  expect(path()).toContain(`p/shop/story/${BEHAVIOUR}`);

  const query = `filter=${encodeURIComponent(`${KEY}:"${BEHAVIOUR}"`)}`;
  const series = await guard.get<Series>(`projects/shop/events/series?by=endpoint&${query}`);
  const top = await guard.get<Top>(`projects/shop/events/top?by=ip_address&${query}`);
  expect(top.distinct).toBe(ATTACKERS.length);
  const summary = page.locator('main p').filter({ hasText: 'in this range' });
  expect(await summary.innerText()).toContain(
    `${count(series.total)} events from ${count(top.distinct)} addresses`,
  );

  const lines = await copied(page);
  for (const address of ATTACKERS) {
    const own = lines.filter((line) => line.includes(`| ${address} |`));
    const ban = own.findIndex((line) => line.includes('ip\\_banned'));
    expect(ban, address).toBeGreaterThan(0);
    expect(ban, address).toBeLessThan(own.length - 1);
  }
});

test('paper has the whole story in light colours, with its times in full, and no controls', async ({
  visit,
}) => {
  const { page, go } = await visit({ colorScheme: 'dark' });
  // Somebody who came again and again.
  await go('p/shop/address/192.0.2.1?from=-7d');
  const steps = page.locator('.story li');
  await page.getByText(/Show more of \d+ steps/).waitFor();
  const all = Number(/\d+/.exec(await page.getByText(/Show more of/).innerText())?.[0]);
  expect(await steps.count()).toBeLessThan(all);
  await page.emulateMedia({ media: 'print' });
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  expect(await steps.count()).toBe(all);
  expect(await page.locator('time').allInnerTexts()).not.toContainEqual(
    expect.stringMatching(/ago$/),
  );
  await page.getByText('Guard, project shop, Last 7 days.').waitFor();
  for (const control of ['aside', '.button', 'button.text', '.bar', 'input']) {
    expect(await page.locator(control).locator('visible=true').count(), control).toBe(0);
  }
  const scheme = () => getComputedStyle(document.documentElement).colorScheme;
  expect(await page.evaluate(scheme)).toBe('light');
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  await page.emulateMedia({ media: 'screen' });
  expect(await page.evaluate(scheme)).toBe('dark');
});

test('a table fits on paper, with rows that are no higher than their text', async ({ visit }) => {
  // As wide as a sheet of A4.
  const { page, go } = await visit({ viewport: { width: 690, height: 980 } });
  await go('p/shop/events');
  await page.emulateMedia({ media: 'print' });
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  expect(await sideways(page)).toBeLessThanOrEqual(0);
  const heights = await page
    .locator('tbody tr')
    .evaluateAll((rows) => rows.map((row) => row.clientHeight));
  expect(Math.max(...heights)).toBeLessThan(120);
});
