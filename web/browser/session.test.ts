/** Who is signed in, and how long. */
import type { Page } from 'playwright-core';
import { PASSWORD } from './world/guard';
import { expect, test } from './test';

async function signIn(page: Page, password = PASSWORD): Promise<void> {
  await page.getByLabel('Name').fill('vera');
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

test('signing in leads back to the page that was asked for', async ({ visit }) => {
  const { page, go, path } = await visit({ as: null });
  await go('p/shop/events?filter=country%3ADE&from=-7d');
  await signIn(page, 'not the password');
  await page.getByRole('alert').getByText('Wrong name or password').waitFor();
  await signIn(page);
  await page.getByRole('heading', { name: /events$/ }).waitFor();
  expect(path()).toBe('p/shop/events?filter=country:DE&from=-7d');
});

test('signing in never leads to another host', async ({ visit, guard }) => {
  const { page, go } = await visit({ as: null });
  await go('sign-in?back=%2F%2Fevil.example%2F');
  await signIn(page);
  await page.getByRole('button', { name: 'Sign in' }).waitFor({ state: 'detached' });
  expect(new URL(page.url()).origin).toBe(guard.url);
});

test('after signing out nothing can be read', async ({ visit }) => {
  const { page, go, path } = await visit({ as: 'vera' });
  await go('p/shop/overview');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  expect(path()).toBe('sign-in');
  await page.goBack();
  await page.getByText('After signing in you are back').waitFor();
  expect(await page.evaluate(() => fetch('api/v1/projects').then(({ status }) => status))).toBe(
    401,
  );
});

test('a revoked session lands on sign-in, and comes back to the same page', async ({
  visit,
  guard,
}) => {
  await guard.addPerson('rita', 'viewer');
  const { page, go, path } = await visit({ as: 'rita' });
  await go('p/shop/overview?from=-7d');
  await guard.command('people', 'sign-out', 'rita');
  await page.getByRole('link', { name: /^Agents/ }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  expect(path()).toBe('sign-in?back=p/shop/agents?from=-7d');
  await page.getByLabel('Name').fill('rita');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Agents' }).waitFor();
  expect(path()).toBe('p/shop/agents?from=-7d');
});

test('people are listed with the time at which they were last seen', async ({ visit, guard }) => {
  await guard.addPerson('nina', 'viewer');
  await guard.addPerson('nora', 'viewer');
  const { go: look } = await visit({ as: 'nina' });
  await look('p/shop/overview');
  const { page, go } = await visit();
  await go('p/shop/settings?tab=people');
  await page.getByRole('row', { name: /^nina/ }).getByText(/ago$/).waitFor();
  await page.getByRole('row', { name: /^nora/ }).getByText('never').waitFor();
});
