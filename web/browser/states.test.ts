/** What a page shows when the server refuses, is slow, or is gone. */
import { settled } from './browser';
import { expect, test, WAIT } from './test';
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

/** Every page of a project that loads something, and what it says where nothing is yet. */
const PAGES = [
  ['overview', 'Why is nothing here?'],
  ['events', 'No event arrived in this time range.'],
  ['address/192.0.2.1', 'This address sent nothing in this time range.'],
  ['story/unknown', 'No event in this time range has this correlation key.'],
  ['rules', 'No rule is in force.'],
  ['rules?tab=versions', 'No rules were set yet.'],
  ['rules?tab=document', 'There is no draft.'],
  ['rules?tab=adoption', 'No agent follows the rules yet.'],
  ['passive', 'Nothing was logged only in this time range.'],
  ['agents', 'No agent was seen yet.'],
  ['settings?tab=keys', 'No key yet.'],
] as const;

test('every page says why it is empty', async ({ visit, guard }) => {
  await guard.api('POST', 'projects', { name: 'empty' });
  for (const as of ['anna', 'vera']) {
    const { page, go } = await visit({ as });
    for (const [path, text] of PAGES) {
      if (as === 'vera' && path.startsWith('settings')) continue;
      await go(`p/empty/${path}`);
      await page.getByText(text).first().waitFor();
      expect(await page.getByText('This could not be loaded').count(), path).toBe(0);
    }
  }
});

test('every page says what failed, and loads it when asked again', async ({ visit }) => {
  const { page, go } = await visit();
  const busy = { detail: 'The server is busy; try again later', code: 'busy', field: null };
  const others = ['alerts', 'alerts?tab=channels', 'settings', 'settings?tab=people'];
  const more = ['settings?tab=tokens', 'settings?tab=audit'];
  for (const path of [...PAGES.map(([it]) => it), ...others, ...more]) {
    await page.route(/\/api\/v1\/(?!session)/, (route) =>
      route.fulfill({ status: 503, json: busy }),
    );
    await go(`p/shop/${path}`);
    const failed = page.locator('main').getByText('This could not be loaded');
    await failed.first().waitFor();
    await page.locator('main').getByText(busy.detail).first().waitFor();
    await page.unroute(/\/api\/v1\/(?!session)/);
    for (let left = await failed.count(); left > 0; left--) {
      await page.locator('main').getByRole('button', { name: 'Try again' }).first().click();
      await expect.poll(() => failed.count(), WAIT).toBe(left - 1);
    }
  }
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
