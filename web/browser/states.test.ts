/** What a page shows when the server refuses, is slow, or is gone. */
import { settled } from './browser';
import { expect, test } from './test';
import { Guard } from './world/guard';

test('a wrong filter is named at the filter, with what to do', async ({ visit }) => {
  const { page, go } = await visit();
  await go('p/shop/events?filter=endpiont%3Ax');
  const text = await page.getByRole('alert').first().innerText();
  expect(text).toContain('endpoint');
});

test('a call that fails says what failed, and can be tried again', async ({ visit }) => {
  const { page, go } = await visit();
  const busy = { detail: 'The server is busy; try again later', code: 'busy', field: null };
  const overview = /\/overview\?.*tz=/;
  await page.route(overview, (route) => route.fulfill({ status: 503, json: busy }));
  await go('p/shop/overview');
  await page.getByText(busy.detail).waitFor();
  await page.unroute(overview);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('.tile').first().waitFor();
});

test('while it loads, the page has its outline', async ({ visit, guard }) => {
  const { page } = await visit();
  let answer: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (answer = resolve));
  await page.route(/\/overview\?.*tz=/, async (route) => {
    await released;
    await route.continue();
  });
  await page.goto(`${guard.url}/p/shop/overview`);
  await page.locator('[aria-busy="true"]').first().waitFor();
  answer();
  await settled(page);
  await page.locator('.tile').first().waitFor();
});

test('a server that is gone leaves the figures, with their time; it comes back by itself', async ({
  visit,
  onTestFinished,
}) => {
  let guard = await Guard.start();
  onTestFinished(() => guard.stop());
  await guard.addPerson('anna', 'admin');
  const { page, go } = await visit({ guard });
  await go('p/default/rules');
  await guard.halt();
  await page.getByRole('link', { name: 'Versions' }).click();
  await page.getByText('This could not be loaded').waitFor();
  await page.goBack();
  await page
    .getByText(/Offline since/)
    .first()
    .waitFor();
  guard = await guard.restart();
  await page
    .getByText(/Offline since/)
    .first()
    .waitFor({ state: 'detached' });
});

test('what does not fit into a link is not applied, and says what to do', async ({ visit }) => {
  const { page, go, path } = await visit();
  await go('p/shop/events');
  await page.getByLabel('Filter', { exact: true }).fill(`reason:"${'x'.repeat(5000)}"`);
  await page.keyboard.press('Enter');
  await page.getByText('Save it as a view').waitFor();
  expect(path()).toBe('p/shop/events');
});
