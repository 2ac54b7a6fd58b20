/** What holds on every page, in both themes, on a phone and on a desk. Screenshots are kept. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe } from 'vitest';
import { outOfReach, seriousProblems, sideways } from './browser';
import { expect, test } from './test';
import type { Guard } from './world/guard';
import { ATTACKERS, BEHAVIOUR, PAYLOAD } from './world/history';
import { ROOT } from './world/process';

const SHOTS = join(ROOT, '.build/screenshots');
const PAGES = [
  ['overview', 'p/PROJECT/overview'],
  ['events', 'p/PROJECT/events?filter=action_taken%3Arequest_blocked+-country%3ADE'],
  ['event', 'p/PROJECT/events?event=EVENT'],
  ['address', 'p/PROJECT/address/ADDRESS'],
  ['story', `p/PROJECT/story/${encodeURIComponent(BEHAVIOUR)}`],
  ['rules', 'p/PROJECT/rules'],
  ['rules-document', 'p/PROJECT/rules?tab=document'],
  ['rules-versions', 'p/PROJECT/rules?tab=versions'],
  ['rules-adoption', 'p/PROJECT/rules?tab=adoption'],
  ['rules-emergency', 'p/PROJECT/rules?tab=emergency'],
  ['passive', 'p/PROJECT/passive'],
  ['agents', 'p/PROJECT/agents'],
  ['alerts', 'p/PROJECT/alerts'],
  ['alerts-channels', 'p/PROJECT/alerts?tab=channels'],
  ['settings-project', 'p/PROJECT/settings'],
  ['settings-keys', 'p/PROJECT/settings?tab=keys'],
  ['settings-people', 'p/PROJECT/settings?tab=people'],
  ['settings-tokens', 'p/PROJECT/settings?tab=tokens'],
  ['settings-audit', 'p/PROJECT/settings?tab=audit'],
  ['settings-account', 'p/PROJECT/settings?tab=account'],
  ['projects', 'projects'],
  ['sign-in', 'sign-in?back=p/shop/events'],
  ['setup', 'setup'],
  ['api', 'api/docs#add_view'],
] as const;

interface Newest {
  items: { id: string }[];
}

/** The paths of all pages for a project. */
async function pathsOf(guard: Guard, project: string, address: string) {
  const { items } = await guard.get<Newest>(`projects/${project}/events?limit=1`);
  return PAGES.map(([name, path]) => {
    const filled = path.replace('PROJECT', project).replace('ADDRESS', encodeURIComponent(address));
    return [name, filled.replace('EVENT', items[0]?.id ?? '')] as const;
  });
}

async function failures(page: Page, name: string): Promise<string[]> {
  const texts = await page.getByText('This could not be loaded').locator('..').allInnerTexts();
  return texts.map((text) => `${name}: ${text}`);
}

describe.each(['light', 'dark'] as const)('in the %s theme', (colorScheme) => {
  test.for([1440, 360])('all pages are sound at %i pixels', async (width, { visit, guard }) => {
    mkdirSync(SHOTS, { recursive: true });
    const { page, go } = await visit({ viewport: { width, height: 900 }, colorScheme });
    const problems: string[] = [];
    for (const [name, path] of await pathsOf(guard, 'shop', ATTACKERS[0])) {
      await go(path);
      problems.push(...(await failures(page, name)));
      if ((await sideways(page)) > 0) problems.push(`${name} scrolls sideways`);
      problems.push(...(await outOfReach(page)).map((it) => `${name}: out of reach: ${it}`));
      problems.push(...(await seriousProblems(page)).map((it) => `${name}: ${it}`));
      const file = join(SHOTS, `${name}-${colorScheme}-${width}.png`);
      await page.screenshot({ path: file, fullPage: name !== 'event' });
    }
    expect(problems).toEqual([]);
  });
});

test('on a phone the menu leads to every page and to the way out', async ({ visit }) => {
  const { page, go, path } = await visit({ as: 'vera', viewport: { width: 360, height: 640 } });
  await go('p/shop/overview');
  const menu = page.getByRole('button', { name: 'Menu' });
  for (const title of ['Events', 'Rules', 'Passive', 'Agents', 'Alerts', 'Settings', 'Overview']) {
    await menu.click();
    await page
      .getByRole('navigation', { name: 'Pages' })
      .getByRole('link', { name: title })
      .click();
    expect(path()).toBe(`p/shop/${title.toLowerCase()}`);
  }
  await menu.click();
  expect(await outOfReach(page)).toEqual([]);
  await page.getByLabel('Project').waitFor();
  await page.getByLabel('Theme').selectOption('Dark');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
});

test('attacks that are stored in every field are text, and nothing else', async ({
  visit,
  guard,
}) => {
  const ban = { ip: '203.0.113.66', reason: PAYLOAD };
  await guard.api('POST', 'projects/hostile/rules/bans', ban);
  const agent = { pattern: `hostile ${PAYLOAD.replaceAll('"', '')}`, reason: PAYLOAD };
  await guard.api('POST', 'projects/hostile/rules/user-agents', agent);
  const view = { name: PAYLOAD, filter: `reason:"${PAYLOAD.replaceAll('"', '\\"')}"`, columns: [] };
  await guard.api('POST', 'projects/hostile/views', { ...view, from: null });
  const { page, go } = await visit();
  const problems: string[] = [];
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`refused: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  for (const [name, path] of await pathsOf(guard, 'hostile', '203.0.113.66')) {
    await go(path);
    problems.push(...(await failures(page, name)));
    for (const plot of await page.locator('.u-over').all()) {
      // The chart styles by script while the pointer moves over it and drags.
      await plot.scrollIntoViewIfNeeded();
      const box = await plot.boundingBox();
      if (!box) continue;
      await page.mouse.move(box.x + box.width / 3, box.y + 20);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 3 + 4, box.y + 30, { steps: 3 });
      await page.mouse.up();
    }
    const hacked = () => 'hacked' in window || document.querySelector('#app img, #app script');
    if (await page.evaluate(hacked)) problems.push(`${name} took data for markup`);
  }
  await go('p/hostile/events');
  await page.getByRole('button', { name: 'Views' }).click();
  await page.getByRole('dialog').getByText(PAYLOAD).first().click();
  await page.waitForURL(/filter=/);
  expect(problems).toEqual([]);
});
