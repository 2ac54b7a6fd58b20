/** Events as they arrive. */
import { expect, test } from './test';
import { send } from './world/app';

/** So many events, numbered, that no guard has sent before. */
const events = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => ({
    event_type: 'probe',
    ip_address: '203.0.113.9',
    action_taken: 'logged',
    reason: `number ${first + index}`,
  }));

test('a pause loses nothing, and the rows are bounded', async ({ visit, guard }) => {
  const key = await guard.key('live');
  const feed = (first: number, count: number) =>
    send(guard.url, key, guard.folder, { events: events(first, count) });
  const { page, go } = await visit({ as: 'vera' });
  await go('p/live/events?live=1&filter=event_type%3Aprobe');
  const newest = (count: number) => page.getByText(`newest ${count} since you look`).waitFor();
  await newest(0);
  await feed(0, 3);
  await newest(3);
  await page.getByRole('button', { name: 'Pause' }).click();
  await feed(3, 37);
  await page.getByText('37 new').click();
  await newest(40);
  const numbers = async () => {
    const texts = await page.locator('td.reason').allInnerTexts();
    return texts.map((text) => Number(text.replace('number ', '')));
  };
  expect((await numbers()).sort((a, b) => a - b)).toEqual([...Array(40).keys()]);

  await feed(40, 700);
  await newest(500);
  await page.getByRole('button', { name: 'Pause' }).click();
  const shown = new Set<number>();
  for (let row = 0; row < 500; row += 10) {
    await page.evaluate((y) => scrollTo(0, y), row * 32);
    const inPage = page.locator(`tr[aria-rowindex="${row + 2}"]`);
    await inPage.waitFor();
    for (const number of await numbers()) shown.add(number);
    expect(await page.locator('tbody tr').count()).toBeLessThan(100);
  }
  expect([...shown].sort((a, b) => a - b)).toEqual([...Array(500).keys()].map((it) => it + 240));
});

test('a row that somebody takes in hand stays where it is', async ({ visit, guard }) => {
  const key = await guard.key('held');
  const { page, go } = await visit({ as: 'otto' });
  await go('p/held/events?live=1');
  await page.getByText('newest 0 since you look').waitFor();
  await send(guard.url, key, guard.folder, { events: events(0, 5) });
  await page.getByText('newest 5 since you look').waitFor();
  await page.keyboard.press('j');
  const taken = await page.locator('tr:focus td.reason').innerText();
  await send(guard.url, key, guard.folder, { events: events(5, 5) });
  await page.getByText('5 new').waitFor();
  expect(await page.locator('tr:focus td.reason').innerText()).toBe(taken);
});

test('after a long pause it goes on where it left', async ({ visit, guard }) => {
  const key = await guard.key('paused');
  const { page, go } = await visit({ as: 'vera' });
  await go('p/paused/events?live=1');
  await page.getByText('newest 0 since you look').waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  // More than the page keeps: it leaves the stream.
  await send(guard.url, key, guard.folder, { events: events(0, 2300) });
  await page.getByText(/\+ new$/).waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('newest 500 since you look').waitFor();
  await page.getByText('number 2299', { exact: true }).waitFor();
  expect(await page.getByText(/too fast to show/).count()).toBe(0);
});
