/** Below a path of another site, behind nginx. */
import { PASSWORD, Guard } from './world/guard';
import { Proxy } from './world/proxy';
import { expect, test, WAIT } from './test';
import { send } from './world/app';

/** A server below `/guard` of nginx. */
async function behindNginx(onTestFinished: (stop: () => Promise<void>) => void) {
  const proxy = await Proxy.reserve('/guard');
  const guard = await Guard.start({ publicUrl: proxy.url });
  onTestFinished(() => guard.stop());
  await proxy.start(guard.url);
  onTestFinished(() => proxy.stop());
  return { proxy, guard };
}

test('links, assets, cookies and the setup link keep the base path', async ({
  visit,
  onTestFinished,
}) => {
  const { proxy, guard } = await behindNginx(onTestFinished);
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

test('the live view, downloads and links of alerts keep the base path', async ({
  visit,
  onTestFinished,
}) => {
  const { proxy, guard } = await behindNginx(onTestFinished);
  await guard.addPerson('anna', 'admin');
  const key = await guard.key('default');
  const alert = {
    label: 'Any probe',
    condition: { type: 'threshold', filter: 'event_type:probe', count: 1, window_s: 60 },
    channels: [],
  };
  await guard.api('POST', 'projects/default/alerts', alert);
  const { page, go } = await visit({ guard });
  await go('p/default/events?live=1');
  await page.getByText('newest 0 since you look').waitFor();
  const event = { event_type: 'probe', ip_address: '203.0.113.9', action_taken: 'logged' };
  await send(guard.url, key, guard.folder, { events: [event] });
  await page.getByText('newest 1 since you look').waitFor();

  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'CSV' }).click();
  expect((await download).url()).toContain(`${proxy.url}/api/v1/projects/default/events/export`);

  await page.getByRole('link', { name: 'Alerts' }).click();
  const row = page.locator('main section li').filter({ hasText: 'Any probe' });
  await expect.poll(() => row.getByText('going on').count(), WAIT).toBe(1);
  await row.getByRole('button', { name: 'Any probe', exact: true }).click();
  const shown = page.getByRole('dialog').getByRole('link', { name: 'Show' }).first();
  expect(await shown.evaluate((it) => (it as HTMLAnchorElement).href)).toContain(
    `${proxy.url}/p/default/events?`,
  );
  await shown.click();
  await page.getByRole('heading', { name: '1 event' }).waitFor();
});
