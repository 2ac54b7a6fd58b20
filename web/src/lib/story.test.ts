// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { markdown, story } from './story';
import type { Item } from './types';

const at = (second: number) => new Date(Date.UTC(2026, 10, 30, 14, 0, second)).toISOString();

function item(second: number, action: string, endpoint = '/login', ip = '203.0.113.7'): Item {
  const timestamp = at(second);
  return {
    id: `e${second}`,
    received_at: timestamp,
    install_id: null,
    event: {
      timestamp,
      event_type: 'probe',
      action_taken: action,
      endpoint,
      method: 'GET',
      ip_address: ip,
    },
  };
}
const ban = (second: number) => ({
  at: at(second),
  action: 'ban 203.0.113.7',
  author: 'person:otto',
  reason: 'scan',
  version: 4,
});
const about = { title: '203.0.113.7', facts: [['Events', 4]] as const };

describe('a story', () => {
  const events = [
    item(1, 'logged_only'),
    item(2, 'request_blocked'),
    item(3, 'request_blocked'),
    item(4, 'banned'),
    item(5, 'request_blocked'),
  ];

  it('tells the first sign, the ban and what came after, with repeats as one step', () => {
    const steps = story([...events].reverse());
    expect(steps.map(({ kind, count }) => [kind, count])).toEqual([
      ['first', 1],
      ['event', 2],
      ['ban', 1],
      ['after', 1],
    ]);
  });

  it('tells what several addresses do in turn as one step for each', () => {
    const other = '2001:db8::9';
    const turns = [1, 2, 3, 4, 5, 6].map((second) =>
      item(second, 'request_blocked', '/login', second % 2 ? other : undefined),
    );
    expect(story(turns).map(({ address, count, until }) => [address, count, until])).toEqual([
      [other, 3, at(5)],
      ['203.0.113.7', 3, at(6)],
    ]);
  });

  it('begins another step after a silence', () => {
    const blocked = [1, 2, 2400, 2401].map((second) => item(second, 'request_blocked'));
    expect(story(blocked).map(({ count }) => count)).toEqual([2, 2]);
  });

  it('has a change of the rules at its time, between repeats as well', () => {
    const blocked = [1, 2, 4].map((second) => item(second, 'request_blocked'));
    const steps = story(blocked, [ban(3)]);
    expect(steps.map(({ kind, count, text }) => [kind, count, text])).toEqual([
      ['first', 2, 'GET /login'],
      ['rules', 1, 'by person:otto: scan (rules v4)'],
      ['event', 1, 'GET /login'],
    ]);
  });

  it('orders times of different zones', () => {
    const late = item(2, 'request_blocked', '/late');
    late.event.timestamp = '2026-11-30T15:00:02+01:00';
    const steps = story([late, item(1, 'request_blocked', '/early')]);
    expect(steps.map(({ text }) => text)).toEqual(['GET /early', 'GET /late']);
  });

  it('names the address of each step if there are several', () => {
    const two = [item(1, 'logged_only'), item(2, 'logged_only', '/login', '2001:db8::9')];
    expect(story(two).map(({ address }) => address)).toEqual(['203.0.113.7', '2001:db8::9']);
    expect(markdown(about, story(two))).toContain(
      '| 2026-11-30 14:00:02.000 UTC | 2001:db8::9 | probe | logged only | GET /login | 1 |  |',
    );
    expect(markdown(about, story([item(1, 'logged_only')]))).toContain(
      '| 2026-11-30 14:00:01.000 UTC | probe | logged only |',
    );
  });

  it('is Markdown in which texts of attackers have no meaning', () => {
    const text = markdown(about, story([item(1, 'banned', '/|<img src=x>\n# [a](b)`')]));
    const row = text.trim().split('\n').at(-1);
    expect(row).toContain('/\\|\\<img src=x\\> \\# \\[a\\](b)\\`');
    expect(row?.startsWith('| 2026-11-30 14:00:01.000 UTC | probe | banned |')).toBe(true);
  });
});
