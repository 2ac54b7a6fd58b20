/** The first quarter of an hour with a new server. */
import { PASSWORD, Guard } from './world/guard';
import { App } from './world/app';
import { expect, test } from './test';

test('the one-time link leads to the first event', async ({ visit, onTestFinished }) => {
  const guard = await Guard.start();
  onTestFinished(() => guard.stop());
  const { page, path } = await visit({ as: null, guard });
  const link = await guard.link();

  await page.goto(link);
  await page.getByLabel('Name').fill('anna');
  await page.getByLabel(/^Password/).fill(PASSWORD);
  await page.getByLabel('The same password again').fill('another password');
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText('The two passwords differ.').waitFor();
  await page.getByLabel('The same password again').fill(PASSWORD);
  await page.getByRole('button', { name: 'Go on' }).click();

  await page.getByRole('heading', { name: 'Connect your app' }).waitFor();
  expect(path(), 'the token of the link stays out of the history').toBe('setup');
  await page.getByRole('button', { name: 'Make a key' }).click();
  const key = await page.getByRole('status').locator('code').innerText();
  for (const [framework, word] of [
    ['Flask', 'FlaskAPIGuard'],
    ['Django', 'DjangoAPIGuard'],
    ['Rust', 'Agent::builder'],
    ['FastAPI', 'SecurityMiddleware'],
  ] as const) {
    await page.getByRole('button', { name: framework, exact: true }).click();
    const snippet = await page.locator('pre').last().innerText();
    expect(snippet).toContain(word);
    expect(snippet).toContain(key);
    expect(snippet).toContain(guard.url);
  }
  // The checklist asks the server: the key that was just made is not used yet.
  await page.getByText('No key of this project was used yet.').waitFor();

  const app = await App.start(guard.url, key, guard.folder);
  onTestFinished(() => app.stop());
  expect(await app.attack('198.51.100.77')).toBe(400);

  await page.waitForURL('**/p/default/overview');
  const newest = page.getByRole('group', { name: 'Events' });
  await newest.getByRole('button', { name: '198.51.100.77' }).first().waitFor();

  // The link worked once.
  await page.goto(link);
  await page.getByText('This could not be loaded').waitFor();
});
