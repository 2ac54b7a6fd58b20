/** What each role sees. A control that the server would refuse is not there. */
import type { Page } from 'playwright-core';
import { expect, test } from './test';
import { settled } from './browser';
import { ATTACKERS, BEHAVIOUR } from './world/history';

/** With events whose addresses can be banned, also long after the attack. */
const OVERVIEW = 'overview?filter=action_taken%3Arequest_blocked';
const PAGES = [
  OVERVIEW,
  'events',
  'events?filter=country%3ARU',
  `address/${ATTACKERS[0]}`,
  'rules',
  'rules?tab=document',
  'rules?tab=versions',
  'rules?tab=adoption',
  'rules?tab=emergency',
  `story/${encodeURIComponent(BEHAVIOUR)}`,
  'passive',
  'agents',
  'alerts',
  'alerts?tab=channels',
  'settings',
] as const;

/** The names of all controls of a page, without those that only repeat a value of a record. */
async function controls(page: Page): Promise<Set<string>> {
  const all = page.locator('main').locator('button, a[href], input, select, textarea, summary');
  const names = await all.evaluateAll((elements) =>
    elements
      .filter((element) => element.checkVisibility())
      .map((element) => {
        const label = element.closest('label')?.querySelector('span')?.textContent;
        const name = element.getAttribute('aria-label') ?? label ?? element.textContent;
        return name.replace(/\s+/g, ' ').trim();
      }),
  );
  // Figures may change meanwhile.
  const plain = (name: string) =>
    name.replace(/^(Ban|Lift|Open|Exclude|Remove|Change|Muted?|Test) .*/, '$1').replace(/\d.*/, '');
  return new Set(names.map(plain));
}

/** The controls once two looks find the same: the panels of the overview load one by one. */
async function steadyControls(page: Page): Promise<Set<string>> {
  let before = await controls(page);
  for (;;) {
    await page.waitForTimeout(500);
    const now = await controls(page);
    if ([...now].sort().join() === [...before].sort().join()) return now;
    before = now;
  }
}

/** What the first role sees and the second does not, page by page. */
function more(first: Map<string, Set<string>>, second: Map<string, Set<string>>) {
  const found: Record<string, string[]> = {};
  for (const [path, names] of first) {
    const extra = [...names].filter((name) => !second.get(path)?.has(name));
    if (extra.length) found[path] = extra.sort();
  }
  return found;
}

test('an operator can also ban and change rules, an admin also has the settings', async ({
  visit,
  guard,
}) => {
  const desk = { label: 'For roles', type: 'webhook', url: 'http://127.0.0.1:2/' };
  await guard.api('POST', 'channels', desk);
  const seen = new Map<string, Map<string, Set<string>>>();
  for (const as of ['vera', 'otto', 'anna']) {
    const { page, go } = await visit({ as });
    const pages = new Map<string, Set<string>>();
    for (const path of PAGES) {
      await go('p/shop/' + path);
      // The newest events of the overview come last, and have controls of their own.
      if (path === OVERVIEW) await page.locator('main tr[data-row]').first().waitFor();
      pages.set(path, await (path === OVERVIEW ? steadyControls : controls)(page));
    }
    seen.set(as, pages);
  }
  const of = (name: string) => seen.get(name) ?? new Map<string, Set<string>>();
  expect(more(of('otto'), of('vera'))).toEqual({
    [OVERVIEW]: expect.arrayContaining(['Allow', 'Ban', 'Lift']),
    events: ['Allow', 'Ban'],
    'events?filter=country%3ARU': ['Allow', 'Ban'],
    [`address/${ATTACKERS[0]}`]: ['Allow…', 'Ban…'],
    rules: ['Add a rule', 'Lift', 'Take back'],
    'rules?tab=document': [
      'Add a rule',
      'Discard the draft',
      'Publish the draft',
      'Reason',
      'Save as draft',
    ],
    'rules?tab=versions': ['Add a rule'],
    'rules?tab=adoption': ['Add a rule'],
    'rules?tab=emergency': [
      'Add a rule',
      'Addresses and CIDR blocks that may still send requests',
      'Reason',
      'Start emergency mode',
      'Type EMERGENCY to confirm',
    ],
    passive: ['Allow this address', 'Turn the detector off…'],
    alerts: ['Add an alert', 'Change', 'Mute'],
  });
  expect(more(of('anna'), of('otto'))).toEqual({
    'alerts?tab=channels': ['Add a channel', 'Change', 'Remove', 'Test'],
    settings: expect.arrayContaining(['Project']),
  });
  expect(more(of('vera'), of('otto'))).toEqual({});
});

test('nothing that a viewer can press is refused', async ({ visit }) => {
  const { page, go } = await visit({ as: 'vera' });
  const refused: string[] = [];
  page.on('response', (response) => {
    if ([403, 405].includes(response.status())) refused.push(`${page.url()}: ${response.url()}`);
  });
  const pressed = new Set<string>();
  for (const path of PAGES) {
    await go('p/shop/' + path);
    const buttons = page.locator('main button:enabled:visible');
    // A value of a record filters, whichever it is; rows have the same buttons.
    const names = await buttons.evaluateAll((all) =>
      all.map((button) => (button.closest('[data-row]') ? '' : button.textContent.trim())),
    );
    for (const [at, name] of names.entries()) {
      if (pressed.has(name || path)) continue;
      pressed.add(name || path);
      await buttons.nth(at).click();
      await settled(page);
      await go('p/shop/' + path);
    }
  }
  expect(pressed.size).toBeGreaterThan(15);
  expect(refused).toEqual([]);
});
