/** What the first page says, and where a click leads. */
import type { Overview, Series, Top } from '../src/lib/types';
import { count } from '../src/lib/format';
import { expect, test } from './test';
import { ATTACKERS } from './world/history';

/** A range in the past, in which nothing changes while a test runs. */
const hour = (ago: number) => new Date(Math.floor(Date.now() / 36e5 - ago) * 36e5).toISOString();
const RANGE = `from=${hour(20)}&to=${hour(1)}`;

const EVENTS = `
  SELECT count(*) FROM events JOIN projects ON projects.id = events.project
  WHERE projects.name = 'shop' AND timestamp >= ? AND timestamp < ?`;
const BLOCKED = `${EVENTS} AND action IN (
  SELECT id FROM names WHERE project = projects.id AND text IN ('request_blocked', 'blocked'))`;

test('its figures are those of the API and of the database', async ({ visit, guard }) => {
  const { page, go } = await visit({ as: 'vera' });
  await go(`p/shop/overview?${RANGE}`);
  const overview = await guard.get<Overview>(`projects/shop/overview?${RANGE}`);
  const series = await guard.get<Series>(`projects/shop/events/series?${RANGE}&by=endpoint`);
  const range: [number, number] = [Date.parse(hour(20)) * 1000, Date.parse(hour(1)) * 1000];
  const { events, blocked, would_block } = overview.totals;
  expect(events.count).toBe(guard.count(EVENTS, ...range));
  expect(blocked.count).toBe(guard.count(BLOCKED, ...range));
  expect(series.total).toBe(events.count);
  expect(blocked.count).toBeGreaterThan(100);

  const tile = (title: string) => page.locator('.tile').filter({ hasText: title });
  await tile('Blocked').getByText(count(blocked.count), { exact: true }).waitFor();
  await tile('Would block').getByText(count(would_block.count), { exact: true }).waitFor();
  for (const { key, count: times } of overview.tops.reason.items.slice(0, 6)) {
    const row = page.locator('li[data-row]').filter({ hasText: key ?? 'none' });
    await row.getByText(count(times), { exact: true }).first().waitFor();
  }
  // The table of the chart has the same figures.
  await page.getByRole('button', { name: 'table' }).first().click();
  const cells = await page.getByRole('group', { name: 'Events as a table' }).locator('td.number');
  const shown = (await cells.allInnerTexts()).map((text) => Number(text.replaceAll(',', '')));
  expect(shown.reduce((sum, value) => sum + value, 0)).toBe(events.count);
});

test('a click narrows it, Alt excludes, and Back takes each step back', async ({ visit }) => {
  const { page, go, path } = await visit();
  await go('p/shop/overview');
  const login = page.getByRole('button', { name: '/login', exact: true }).first();
  const box = page.getByLabel('Filter', { exact: true });
  await login.click();
  await page.getByLabel('Remove endpoint:/login').waitFor();
  await login.click({ modifiers: ['Alt'] });
  await page.getByLabel('Remove -endpoint:/login').waitFor();
  expect(await box.inputValue()).toBe('-endpoint:/login');
  await page.goBack();
  await page.getByLabel('Remove endpoint:/login').waitFor();
  expect(await box.inputValue()).toBe('endpoint:/login');
  await page.goBack();
  await page.getByLabel('Remove endpoint:/login').waitFor({ state: 'detached' });
  expect(await box.inputValue()).toBe('');
  expect(path()).toBe('p/shop/overview');
});

test('typing a filter makes one step for Back, not one for each key', async ({ visit }) => {
  const { page, go, path } = await visit();
  await go('p/shop/overview');
  await page.getByRole('link', { name: 'Events', exact: true }).click();
  await page.getByLabel('Filter', { exact: true }).click();
  await page.keyboard.type('country:RU method:POST');
  await page.keyboard.press('Enter');
  await page.waitForURL(/filter=/);
  await page.goBack();
  expect(path()).toBe('p/shop/events');
  await page.goBack();
  expect(path()).toBe('p/shop/overview');
});

test('an attack that goes on is told, with a way to ban who does it', async ({ visit }) => {
  const { page, go } = await visit({ as: 'otto' });
  await go('p/shop/overview');
  const banner = page.getByRole('status').filter({ hasText: 'Attack in progress.' });
  await banner.getByText('/login').waitFor();
  await banner.getByRole('button', { name: 'Ban the top 3…' }).click();
  const addresses = page.getByLabel('Addresses or CIDR blocks');
  expect((await addresses.inputValue()).split(', ').sort()).toEqual([...ATTACKERS].sort());
});

test('dragging over the chart zooms', async ({ visit }) => {
  const { page, go } = await visit();
  await go('p/shop/overview');
  const box = await page.locator('.u-over').first().boundingBox();
  if (!box) throw new Error('there is no chart');
  await page.mouse.move(box.x + 200, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(box.x + 400, box.y + 50, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=.*to=/);
});

test('the same address shows the same to somebody else', async ({ visit }) => {
  const columns = 'columns=timestamp,ip_address,reason';
  const shared = [
    `p/shop/overview?${RANGE}&filter=country%3ARU&by=event_type`,
    `p/shop/events?${RANGE}&filter=-action_taken%3Alogged_only&${columns}`,
    `p/shop/passive?${RANGE}`,
    `p/shop/address/192.0.2.1?${RANGE}`,
  ];
  const [one, other] = [await visit({ as: 'vera' }), await visit({ as: 'vera' })];
  for (const address of shared) {
    const texts = [];
    for (const { page, go } of [one, other]) {
      await go(address);
      texts.push(await page.locator('main').innerText());
    }
    expect(texts[0]).toBe(texts[1]);
  }
});

test('a list opens whole, and its address leads there', async ({ visit, guard }) => {
  const { page, go, path } = await visit({ as: 'vera' });
  await go(`p/shop/overview?${RANGE}`);
  await page.getByRole('link', { name: 'Addresses: all' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.locator('li[data-row]').first().waitFor();
  const query = `${RANGE}&by=ip_address&limit=200`;
  const top = await guard.get<Top>(`projects/shop/events/top?${query}`);
  expect(await dialog.locator('li[data-row]').count()).toBe(top.items.length);
  expect(top.items.length).toBeGreaterThan(20);
  expect(path()).toContain('all=ip_address');
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  expect(path()).not.toContain('all=');
});
