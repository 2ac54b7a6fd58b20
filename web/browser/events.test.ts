/** The table of events. */
import { expect, test, WAIT } from './test';

test('thousands of rows cost as much as those on the screen, and all can be reached', async ({
  visit,
  guard,
}) => {
  const { page, go } = await visit({ as: 'otto' });
  await go('p/shop/events?from=-7d');
  const { total } = await guard.get<{ total: number }>(
    'projects/shop/events/series?from=-7d&by=endpoint',
  );
  await page.getByRole('button', { name: 'Load older events' }).click();
  const rows = page.locator('tbody tr[data-row]');
  const table = page.getByRole('table');
  const known = async () => Number(await table.getAttribute('aria-rowcount')) - 1;
  await expect.poll(known, WAIT).toBeGreaterThan(Math.min(total, 1000) - 1);
  expect(await rows.count()).toBeLessThan(100);

  await page.evaluate(() => scrollTo(0, 0));
  await page.locator('tr[aria-rowindex="2"]').waitFor();
  // The keyboard leaves the first screen, and the row with the focus has the next number.
  const focused = () => page.locator('tr:focus').getAttribute('aria-rowindex');
  for (let row = 2; row < 122; row++) {
    await page.keyboard.press('j');
    expect(await focused()).toBe(`${row}`);
  }
  // The space of the rows that are not in the page keeps their place.
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  const last = page.locator(`tr[aria-rowindex="${(await known()) + 1}"]`);
  await last.waitFor();
  expect(await rows.count()).toBeLessThan(100);
});

test('columns, filter and range of a view come back for another person', async ({ visit }) => {
  const { page, go } = await visit({ as: 'otto' });
  await go('p/shop/events?filter=country:RU&from=-7d&columns=timestamp,ip_address,country');
  await page.getByRole('button', { name: 'Views' }).click();
  await page.getByLabel('Name of the view').fill('From Russia');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('button', { name: 'From Russia', exact: true }).waitFor();

  const other = await visit({ as: 'vera' });
  await other.go('p/shop/events');
  await other.page.getByRole('button', { name: 'Views' }).click();
  await other.page.getByRole('button', { name: 'From Russia', exact: true }).click();
  await other.page.waitForURL(/columns/);
  const params = new URLSearchParams(other.path().split('?')[1]);
  expect(Object.fromEntries(params)).toEqual({
    filter: 'country:RU',
    from: '-7d',
    columns: 'timestamp,ip_address,country',
  });
});
