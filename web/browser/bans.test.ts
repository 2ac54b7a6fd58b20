/** Bans, as the guard of a running app applies them. */
import type { Page } from 'playwright-core';
import type { App } from './world/app';
import { expect, test, WAIT } from './test';

const dialog = (page: Page) => page.getByRole('dialog');
/** Every process that follows the rules has the change. */
const applied = (page: Page) =>
  dialog(page).getByText(/(\d+) of \1\s+process(es)? ha(s|ve) applied it/);

/** Sends requests as a client until the app answers as expected. */
async function answers(app: App, client: string, status: number): Promise<void> {
  await expect.poll(() => app.get('/items', client), WAIT).toBe(status);
}

test('a ban says whom it hits before, and who has it after; unban takes it back', async ({
  visit,
  guard,
  app,
}) => {
  const client = '198.51.100.101';
  await app.attack(client);
  await answers(app, client, 200);
  const seen = () =>
    guard.get<{ total: number }>(
      `projects/shop/events/top?by=ip_address&filter=ip_address:${client}`,
    );
  await expect.poll(async () => (await seen()).total, WAIT).toBeGreaterThan(0);

  const { page, go } = await visit({ as: 'otto' });
  await go(`p/shop/events?filter=ip_address:${client}`);
  await page.getByRole('button', { name: 'Ban', exact: true }).first().click();
  await dialog(page)
    .getByText(/It hits\s+1\s+address\s+that sent\s+\d+\s+events?\s+in\s+the last 7 days/)
    .waitFor();
  await page.getByLabel('Reason').fill('scan');
  await dialog(page).getByRole('button', { name: 'Ban', exact: true }).click();
  await applied(page).waitFor();
  await answers(app, client, 403);

  await go(`p/shop/address/${client}`);
  await page.getByText('by person:otto', { exact: false }).first().waitFor();
  await page.getByRole('button', { name: 'Lift the ban…' }).click();
  await dialog(page).getByRole('button', { name: 'Lift the ban' }).click();
  await applied(page).waitFor();
  await answers(app, client, 200);
});

test('allow lifts a ban that the guard made by itself', async ({ visit, app }) => {
  const client = '198.51.100.102';
  // The app bans an address after five detections.
  for (let times = 0; times < 5; times++) await app.attack(client);
  await answers(app, client, 403);
  const { page, go } = await visit({ as: 'otto' });
  await go(`p/shop/address/${client}`);
  await page.getByRole('button', { name: 'Allow…' }).click();
  await dialog(page).getByRole('button', { name: 'Allow' }).click();
  const yes = dialog(page).getByRole('button', { name: 'Yes, do it' });
  const done = applied(page);
  await yes.or(done).first().waitFor();
  if (await yes.isVisible()) await yes.click();
  await done.waitFor();
  await answers(app, client, 200);
});

test('a ban that may lock people out is made only after a confirmation', async ({
  visit,
  guard,
}) => {
  await guard.key('bans');
  const { page, go } = await visit({ as: 'otto' });
  await go('p/bans/address/127.0.0.1');
  await page.getByRole('button', { name: 'Ban…' }).click();
  await dialog(page).getByRole('button', { name: 'Ban', exact: true }).click();
  await dialog(page).getByText('Please confirm:').waitFor();
  const before = await guard.get<{ entries: unknown[] }>('projects/bans/rules/entries');
  expect(before.entries).toEqual([]);
  await dialog(page).getByRole('button', { name: 'Yes, do it' }).click();
  await dialog(page).getByText('It is version').waitFor();
  const after = await guard.get<{ entries: { ip: string }[] }>('projects/bans/rules/entries');
  expect(after.entries.map(({ ip }) => ip)).toEqual(['127.0.0.1']);
});

test('what passive mode logged can be allowed or followed up', async ({ visit, guard }) => {
  const { page, go, path } = await visit({ as: 'otto' });
  await go('p/shop/passive');
  const { total } = await guard.get<{ total: number }>('projects/shop/passive');
  await page.getByText(total.toLocaleString('en-US'), { exact: true }).first().waitFor();
  const group = page.locator('main section li').filter({ hasText: 'XSS: script tag' });
  await group.getByRole('button', { name: 'Allow this address' }).first().click();
  await dialog(page)
    .getByText(/Lifts every ban of the address/)
    .waitFor();
  await page.keyboard.press('Escape');
  await group.getByRole('link', { name: 'Events', exact: true }).click();
  await page.getByRole('heading', { name: /events$/ }).waitFor();
  expect(path()).toContain('reason:"XSS: script tag"');
});
