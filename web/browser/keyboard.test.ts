/** Everything can be done without a mouse. */
import { settled } from './browser';
import { expect, test, WAIT } from './test';
import { PASSWORD } from './world/guard';

test('the keyboard finds an event, looks at it and bans its address', async ({ visit, guard }) => {
  const { page, go } = await visit({ as: 'otto' });
  await go('p/shop/overview');
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.waitForURL('**/events');
  await settled(page);
  await page.keyboard.press('/');
  await page.keyboard.type('country:KP ');
  await page.keyboard.press('Enter');
  await page.waitForURL(/country/);
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await settled(page);
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByText('idempotency_key').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.keyboard.press('j');
  const focused = page.locator('tr:focus, tr:focus-within');
  const address = await focused.locator('td.ip_address').innerText();
  await page.keyboard.press('b');
  await page.getByRole('dialog').getByText('How long').waitFor();
  const bans = async () => {
    const { entries } = await guard.get<{ entries: { ip?: string }[] }>(
      'projects/shop/rules/entries',
    );
    return entries.map(({ ip }) => ip);
  };
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByText('It is version').waitFor();
  await expect.poll(bans, WAIT).toContain(address);
});

test('from sign-in to a ban that is lifted, no mouse is needed', async ({ visit, guard }) => {
  const address = '203.0.113.201';
  const { page, go, path } = await visit({ as: null });
  const { keyboard } = page;
  const dialog = page.getByRole('dialog');
  await go('sign-in?back=p/shop/overview');
  await keyboard.type('otto');
  await keyboard.press('Tab');
  await keyboard.type(PASSWORD);
  await keyboard.press('Enter');
  await page.waitForURL('**/p/shop/overview');
  await settled(page);

  for (const [key, name] of Object.entries({
    e: 'events',
    p: 'passive',
    a: 'agents',
    l: 'alerts',
  })) {
    await keyboard.press('g');
    await keyboard.press(key);
    await page.waitForURL(`**/${name}`);
    await settled(page);
  }
  await keyboard.press('g');
  await keyboard.press('r');
  await page.waitForURL('**/rules');
  await settled(page);

  // Outside a row, b begins a ban with the form of the page.
  await keyboard.press('b');
  await dialog.getByLabel('Address or CIDR block').waitFor();
  await dialog.getByLabel('Address or CIDR block').focus();
  await keyboard.type('not an address');
  await keyboard.press('Enter');
  const wrong = dialog.getByRole('alert');
  await wrong.waitFor();
  const red = await wrong.evaluate((it) => getComputedStyle(it).color);
  const grey = await dialog
    .locator('.field > span')
    .first()
    .evaluate((it) => getComputedStyle(it).color);
  expect(red, 'what is wrong is not in the colour of a label').not.toBe(grey);
  await keyboard.press('Control+A');
  await keyboard.type(address);
  await keyboard.press('Enter');
  await dialog.getByText('It is version').waitFor();
  await keyboard.press('Escape');

  await keyboard.press('/');
  await keyboard.type(address);
  await page.waitForURL(/search=/);
  // A ban that is lifted becomes an "Allow" for a while, so the row is found by its words.
  const row = page.locator('tr[data-row]').filter({ hasText: `Ban ${address}` });
  await row.waitFor();
  // From the search to the list, to the link of the row, to its button.
  const lift = row.getByRole('button', { name: 'Lift' });
  for (let tabs = 0; tabs < 5 && !(await lift.evaluate((it) => it.matches(':focus'))); tabs++) {
    await keyboard.press('Tab');
  }
  await keyboard.press('Enter');
  await dialog.getByLabel('Reason').waitFor();
  await keyboard.press('Enter');
  await dialog.getByText('It is version').waitFor();
  await keyboard.press('Escape');
  await row.waitFor({ state: 'detached' });
  expect(path()).toBe(`p/shop/rules?search=${address}`);
  const { entries } = await guard.get<{ entries: { kind: string; ip?: string }[] }>(
    'projects/shop/rules/entries',
  );
  expect(entries.filter(({ ip }) => ip === address).map(({ kind }) => kind)).toEqual(['unban']);
});

test('shortcuts leave fields, composed text and other keys alone, and can be turned off', async ({
  visit,
}) => {
  const { page, go, path } = await visit();
  await go('p/shop/overview');
  await page.getByLabel('Filter', { exact: true }).click();
  await page.keyboard.type('ge?');
  expect(await page.getByLabel('Filter', { exact: true }).inputValue()).toBe('ge?');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.evaluate(() => {
    const press = (options: KeyboardEventInit) =>
      document.body.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...options }));
    press({ key: '?', isComposing: true });
    press({ key: '?', ctrlKey: true });
    press({ key: '?', altKey: true });
    press({ key: '?', metaKey: true });
  });
  expect(await page.getByRole('dialog').count()).toBe(0);
  expect(path()).toBe('p/shop/overview');

  await page.keyboard.press('?');
  await page.getByRole('dialog').getByRole('checkbox').uncheck();
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.keyboard.press('?');
  expect(await page.getByRole('dialog').count()).toBe(0);
  expect(path()).toBe('p/shop/overview');
});
