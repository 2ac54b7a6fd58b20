/** Below a path of another site, behind nginx. */
import { PASSWORD, Guard } from './world/guard';
import { Proxy } from './world/proxy';
import { expect, test } from './test';

test('links, assets, cookies and the setup link keep the base path', async ({
  visit,
  onTestFinished,
}) => {
  const proxy = await Proxy.reserve('/guard');
  const guard = await Guard.start({ publicUrl: proxy.url });
  onTestFinished(() => guard.stop());
  await proxy.start(guard.url);
  onTestFinished(() => proxy.stop());

  const { page, path } = await visit({ as: null, guard });
  const outside: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(proxy.url + '/')) outside.push(request.url());
  });
  const link = await guard.link();
  expect(link.startsWith(proxy.url + '/setup?')).toBe(true);
  await page.goto(link);
  await page.getByLabel('Name').fill('anna');
  await page.getByLabel(/^Password/).fill(PASSWORD);
  await page.getByLabel('The same password again').fill(PASSWORD);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('link', { name: 'Later' }).click();
  await page.getByRole('link', { name: 'Events', exact: true }).click();
  await page.waitForURL(`${proxy.url}/p/default/events`);
  await page.reload();
  await page.getByText('No event arrived in this time range.').waitFor();
  const [cookie] = await page.context().cookies();
  expect(cookie).toMatchObject({ name: 'guard_session', path: '/guard', httpOnly: true });
  await page.getByRole('link', { name: 'Settings' }).click();
  await page.getByRole('link', { name: 'People' }).click();
  await page.getByLabel('Name of the new person').fill('ben');
  await page.getByRole('button', { name: 'Invite' }).click();
  const invitation = await page.getByRole('status').locator('code').innerText();
  expect(invitation.startsWith(proxy.url + '/setup?')).toBe(true);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  expect(path()).toBe('sign-in');
  expect(outside).toEqual([]);
});
