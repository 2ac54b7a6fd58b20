/** What people do, step by step. */
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launch, open, settled } from './browser';
import { TOPS } from './fixtures';
import { FakeServer } from './server';

/** A bound for what happens soon, also on a slow machine. */
const WAIT = { timeout: 60_000 };

let browser: Browser;
let server: FakeServer;
let context: BrowserContext;
let page: Page;
let complaints: string[];

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
beforeEach(async () => {
  server = await FakeServer.start();
  context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  ({ page, complaints } = await open(context));
});
afterEach(async () => {
  await context.close();
  server.stop();
  expect(complaints).toEqual([]);
});

async function go(path: string): Promise<void> {
  await page.goto(server.url + path);
  await settled(page);
}
const url = () => decodeURIComponent(page.url().slice(server.url.length).replaceAll('+', ' '));

describe('signing in', () => {
  it('leads back to the page that was asked for', async () => {
    server.signedIn = false;
    await page.goto(server.url + 'p/shop/events?filter=country%3ADE&from=-7d');
    await page.getByLabel('Name').fill('anna');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('Name or password is wrong').waitFor();
    await page.getByLabel('Password').fill('correct horse battery');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('100 newest events').waitFor();
    expect(url()).toBe('p/shop/events?filter=country:DE&from=-7d');
  });

  it('is asked for again when the session was revoked', async () => {
    await go('p/shop/overview?from=-7d');
    server.signedIn = false;
    await page.getByRole('link', { name: 'Passive', exact: false }).first().click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    expect(url()).toBe('sign-in?back=p/shop/passive?from=-7d');
  });

  it('never leads to another host', async () => {
    server.signedIn = false;
    await page.goto(server.url + 'sign-in?back=%2F%2Fevil.example%2F');
    await page.getByLabel('Name').fill('anna');
    await page.getByLabel('Password').fill('correct horse battery');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor({ state: 'detached' });
    expect(new URL(page.url()).origin + '/').toBe(server.url);
  });
});

describe('the overview', () => {
  it('shows the figures of the API', async () => {
    await go('p/shop/overview');
    for (const figure of ['1,482,091', '8,214', '+312 %', '84 ms']) {
      await page.getByText(figure, { exact: true }).first().waitFor();
    }
    const first = TOPS.ip_address?.items[0];
    const row = page.getByRole('listitem').filter({ hasText: first?.key ?? '' });
    await row
      .filter({ hasText: first?.count.toLocaleString('en-US') })
      .first()
      .waitFor();
    await page.getByText('Attack in progress.').waitFor();
  });

  it('narrows by a click, excludes with Alt, and Back takes it back', async () => {
    await go('p/shop/overview');
    const login = page.getByRole('button', { name: '/login', exact: true });
    await login.click();
    await page.getByLabel('Remove endpoint:/login').waitFor();
    await login.click({ modifiers: ['Alt'] });
    await page.getByLabel('Remove -endpoint:/login').waitFor();
    await page.goBack();
    await page.getByLabel('Remove endpoint:/login').waitFor();
    await page.goBack();
    expect(url()).toBe('p/shop/overview');
    expect(await page.getByLabel('Filter', { exact: true }).inputValue()).toBe('');
  });

  it('zooms by dragging over the chart', async () => {
    await go('p/shop/overview');
    const box = await page.locator('.u-over').first().boundingBox();
    if (!box) throw new Error('there is no chart');
    await page.mouse.move(box.x + 200, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + 400, box.y + 50, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(() => location.search.includes('to='));
  });

  it('says so when the figures are old', async () => {
    await go('p/shop/overview');
    server.isBusy = true;
    await page.getByRole('button', { name: 'country', exact: true }).click();
    await page.getByLabel('Filter', { exact: true }).fill('country:DE');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await page.getByLabel('Filter', { exact: true }).fill('country:FR');
    await page.keyboard.press('Enter');
    await page.getByText('Old data.').first().waitFor();
    await page.getByText('1,482,091').waitFor();
  });
});

describe('a ban', () => {
  it('says whom it hits before, and who has it after', async () => {
    server.applied = 3;
    await go('p/shop/events');
    await page.getByRole('button', { name: 'Ban', exact: true }).first().click();
    await page.getByText(/It hits/).waitFor();
    await page.getByLabel('Reason').fill('scan');
    await page.getByRole('dialog').getByRole('button', { name: 'Ban', exact: true }).click();
    await page.getByText('3 of 4', { exact: true }).waitFor();
    server.applied = 4;
    await page.getByText('4 of 4', { exact: true }).waitFor();
    expect(server.changes).toEqual([
      {
        method: 'POST',
        path: 'projects/shop/rules/bans',
        body: { ip: '203.0.113.7', reason: 'scan', duration_s: 3600 },
      },
    ]);
  });

  it('that may lock people out is made only after a confirmation', async () => {
    await go('p/shop/address/203.0.113.7');
    await page.getByRole('button', { name: 'Ban…', exact: true }).click();
    await page.getByLabel('Addresses or CIDR blocks').fill('0.0.0.0/0');
    await page.getByRole('dialog').getByRole('button', { name: 'Ban', exact: true }).click();
    await page.getByText('this would ban your own address').waitFor();
    await page.getByRole('button', { name: 'Yes, do it' }).click();
    await page.getByText('version 19').waitFor();
    expect(server.changes.map(({ body }) => body.confirm)).toEqual([undefined, true]);
  });
});

describe('a viewer', () => {
  it('sees no control that would be refused', async () => {
    server.role = 'viewer';
    for (const path of ['overview', 'events', 'events?event=e3', 'address/203.0.113.7', 'rules']) {
      await go('p/shop/' + path);
      const changing = page.getByRole('button', { name: /^(Ban|Allow|Lift|Take back|Add a rule)/ });
      expect(await changing.count(), path).toBe(0);
    }
    await go('p/shop/settings?tab=keys');
    await page.getByText('You are signed in as').waitFor();
    expect(await page.getByText('Make a key').count()).toBe(0);
  });
});

describe('the keyboard', () => {
  it('is enough to find an event, look at it and ban its address', async () => {
    await go('p/shop/overview');
    await page.keyboard.press('g');
    await page.keyboard.press('e');
    await page.getByText('100 newest events').waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('method:POST');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => location.search.includes('method'));
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await settled(page);
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByText('idempotency_key').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('j');
    await page.keyboard.press('b');
    await page.getByRole('dialog').getByText('How long').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('?');
    await page.getByText('Single-key shortcuts').waitFor();
  });
});

describe('the live view', () => {
  it('loses nothing in a pause, and keeps a bounded number of rows', async () => {
    await go('p/shop/events?live=1');
    await page.getByText(/newest 0/).waitFor();
    server.send(3);
    await page.getByText(/newest 3/).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    server.send(37);
    await page.getByText('37 new').click();
    await page.getByText(/newest 40/).waitFor();
    server.send(2000);
    await page.getByText(/newest 500/).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(100);
    await page.getByRole('button', { name: 'Pause' }).click();
    await expect.poll(() => page.locator('tbody tr').count(), WAIT).toBe(500);
  });

  it('goes on where it left after a long pause', async () => {
    await go('p/shop/events?live=1');
    await page.getByText(/newest 0/).waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    server.send(2500);
    await page.getByText(/new$/).waitFor();
    await page.waitForFunction(() => document.body.textContent?.includes('+ new'));
    await expect.poll(() => server.followers, WAIT).toBe(0);
    await page.getByRole('button', { name: 'Resume' }).click();
    await page.getByText(/newest 500/).waitFor();
    await expect.poll(() => server.followers, WAIT).toBe(1);
  });
});

describe('a wrong filter', () => {
  it('is named at the filter, with what to do', async () => {
    await go('p/shop/events?filter=endpiont%3Ax');
    expect(await page.getByRole('alert').first().textContent()).toContain('did you mean endpoint');
  });
});

describe('below a base path', () => {
  it('all links, assets and calls keep it', async () => {
    const below = await FakeServer.start('/guard');
    try {
      await page.goto(below.url + 'p/shop/overview');
      await settled(page);
      await page.getByRole('link', { name: 'Events', exact: true }).click();
      await page.getByText('100 newest events').waitFor();
      expect(new URL(page.url()).pathname).toBe('/guard/p/shop/events');
    } finally {
      below.stop();
    }
  });
});
