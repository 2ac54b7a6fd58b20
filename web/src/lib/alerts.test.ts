import { describe, expect, it } from 'vitest';
import { CHANNELS, conditionOf, CONDITIONS, followedHref, tell, typedOf } from './alerts';

describe('conditions', () => {
  it('are made from what a form starts with, with numbers as numbers', () => {
    const made = CONDITIONS.map((kind) => conditionOf(kind, typedOf(kind)));
    expect(made).toEqual([
      { type: 'threshold', filter: '', count: 100, window_s: 300 },
      { type: 'rise', filter: '', ratio: 5, minimum: 100, window_s: 300 },
      { type: 'first_seen', filter: '', field: 'country', window_s: 3600 },
      { type: 'agent_silent', after_s: 900 },
      { type: 'losses', count: 1, window_s: 300 },
      { type: 'storage', days_left: 7 },
      { type: 'rule_rejected' },
      { type: 'sign_in_failures', count: 20, window_s: 300 },
    ]);
  });

  it('come back from a form as they were', () => {
    const conditions = [
      { type: 'threshold', filter: 'endpoint:/login', count: 3, window_s: 10 },
      { type: 'storage', days_left: 1, used_percent: 90 },
    ];
    for (const condition of conditions) {
      const kind = CONDITIONS.find(({ type }) => type === condition.type);
      expect(kind && conditionOf(kind, typedOf(kind, condition))).toEqual(condition);
    }
  });

  it('are told in words', () => {
    const told = (type: string, rest: object) => tell({ type, ...rest });
    expect(told('threshold', { filter: 'endpoint:/login', count: 1000, window_s: 300 })).toBe(
      '1,000 events that match endpoint:/login within 5 min',
    );
    expect(told('agent_silent', { after_s: 900 })).toBe('an agent is silent for 15 min');
    expect(told('storage', { days_left: 7, used_percent: 90 })).toBe(
      "the disk is full within 7 days, or 90 % of the project's limit is used",
    );
    expect(told('of_a_newer_server', {})).toBe('of_a_newer_server');
  });
});

describe('channels', () => {
  it('are of the types of the API', () => {
    expect(CHANNELS.map(({ type }) => type).sort()).toEqual([
      'discord',
      'email',
      'ntfy',
      'slack',
      'teams',
      'telegram',
      'webhook',
    ]);
  });
});

describe('links of notifications', () => {
  it('lead to this dashboard, whatever the server calls itself', () => {
    const path = 'p/shop/events?filter=a%3Ab&from=1';
    for (const link of [`https://guard.example/base/${path}`, `/${path}`]) {
      expect(followedHref(link)).toBe(`/${path}`);
    }
  });
});
