/** Everything can be done without a mouse. */
import { settled } from './browser';
import { expect, test, WAIT } from './test';

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
