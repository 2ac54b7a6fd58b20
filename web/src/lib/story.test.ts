// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { markdown, story } from './story';
import type { Address, Item } from './types';

function item(second: number, action: string, endpoint = '/login'): Item {
  const timestamp = new Date(Date.UTC(2026, 10, 30, 14, 0, second)).toISOString();
  return {
    id: `e${second}`,
    received_at: timestamp,
    install_id: null,
    event: { timestamp, event_type: 'probe', action_taken: action, endpoint, method: 'GET' },
  };
}
const address = {
  ip: '203.0.113.7',
  total: 4,
  first_seen: null,
  last_seen: null,
  bans: { active: [], by_guards: [], past: [] },
} as unknown as Address;

describe('the story of an address', () => {
  const events = [
    item(1, 'logged_only'),
    item(2, 'request_blocked'),
    item(3, 'request_blocked'),
    item(4, 'banned'),
    item(5, 'request_blocked'),
  ];

  it('tells the first sign, the ban and what came after, with repeats as one step', () => {
    const steps = story(address, [...events].reverse());
    expect(steps.map(({ kind, count }) => [kind, count])).toEqual([
      ['first', 1],
      ['event', 2],
      ['ban', 1],
      ['after', 1],
    ]);
  });

  it('is Markdown in which texts of attackers have no meaning', () => {
    const text = markdown(address, story(address, [item(1, 'banned', '/|<img src=x>\n# [a](b)`')]));
    const row = text.trim().split('\n').at(-1);
    expect(row).toContain('/\\|\\<img src=x\\> \\# \\[a\\](b)\\`');
    expect(row?.startsWith('| 2026-11-30 14:00:01.000 UTC | probe | banned |')).toBe(true);
  });
});
