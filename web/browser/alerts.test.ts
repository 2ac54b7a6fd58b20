/** Alerts: a condition that comes true, who is told, and the ban that follows. */
import type { Page } from 'playwright-core';
import { expect, test, WAIT } from './test';

const dialog = (page: Page) => page.getByRole('dialog');

test('a channel is tested, and the page shows exactly why it did not work', async ({
  visit,
  guard,
}) => {
  const { page, go } = await visit();
  await go('p/shop/alerts?tab=channels');
  await page.getByRole('button', { name: 'Add a channel' }).first().click();
  await dialog(page).getByRole('textbox', { name: 'Name' }).fill('Desk');
  await dialog(page).getByLabel('Service').selectOption('Webhook');
  await dialog(page).getByRole('textbox', { name: 'URL' }).fill('ftp://127.0.0.1/hush');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await dialog(page).getByText('it must begin with https:// or http://').waitFor();
  await dialog(page).getByRole('textbox', { name: 'URL' }).fill('http://127.0.0.1:1/hush');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await page.getByText('http://127.0.0.1:1/…').waitFor();
  await page.getByRole('button', { name: 'Test Desk' }).click();
  await page.getByText('127.0.0.1 is not reached, because it is this machine').waitFor();
  expect(await page.locator('main').innerText()).not.toContain('hush');

  // The page never gets the address, so a change of the name alone keeps it.
  await page.getByRole('button', { name: 'Change Desk' }).click();
  await dialog(page).getByRole('textbox', { name: 'Name' }).fill('Front desk');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Test Front desk' }).click();
  await page.getByText('127.0.0.1 is not reached, because it is this machine').waitFor();
  const { items } = await guard.get<{ items: { label: string; target: string }[] }>('channels');
  expect(items.filter(({ label }) => label === 'Front desk')).toHaveLength(1);
});

test('an alert comes true, is muted, and leads to its events and to a ban', async ({
  visit,
  app,
}) => {
  const client = '198.51.100.120';
  const { page, go, path } = await visit({ as: 'otto' });
  await go('p/shop/alerts');
  await page.getByRole('button', { name: 'Add an alert' }).click();
  await dialog(page).getByRole('textbox', { name: 'Name' }).fill('One client');
  const filter = dialog(page).getByRole('combobox', { name: 'Events that match' });
  await filter.fill(`ip_address:${client} OR (`);
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await dialog(page).getByText('condition.filter: ').waitFor();
  await filter.fill(`ip_address:${client}`);
  await dialog(page).getByLabel('At least this many').fill('2');
  await dialog(page).getByRole('button', { name: 'Save' }).click();

  const alert = page.locator('main section li').filter({ hasText: 'One client' });
  await alert.getByText('quiet').waitFor();
  for (let times = 0; times < 3; times++) await app.attack(client);
  await expect.poll(() => alert.getByText('going on').count(), WAIT).toBe(1);

  await alert.getByRole('button', { name: 'Mute One client' }).click();
  await dialog(page).getByRole('button', { name: 'Mute', exact: true }).click();
  await alert.getByText('Muted, ends').waitFor();

  await alert.getByRole('button', { name: 'One client', exact: true }).click();
  await dialog(page).getByText('started').first().waitFor();
  const ban = await dialog(page).getByRole('link', { name: 'Ban' }).first().getAttribute('href');
  await dialog(page).getByRole('link', { name: 'Show' }).first().click();
  await page.getByRole('heading', { name: /events$/ }).waitFor();
  expect(path()).toContain(`filter=ip_address:"${client}"`);

  await go(`${ban ?? ''}`.replace(/^\//, ''));
  await dialog(page).getByRole('button', { name: 'Ban', exact: true }).waitFor();
  expect(await dialog(page).getByLabel('Addresses or CIDR blocks').inputValue()).toBe(client);
  expect(path()).not.toContain('ban=');
});
