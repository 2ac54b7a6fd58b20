// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { body, collectionOf, describe as tell, KINDS } from './operations';
import type { Entry } from './types';

const entry = (fields: Record<string, unknown>): Entry => ({
  id: 'x',
  kind: 'ban',
  reason: null,
  author: null,
  created_at: '2026-11-30T14:00:00Z',
  ends_at: null,
  ...fields,
});

describe('an operation', () => {
  it.each([
    [{ kind: 'ban', ip: '192.0.2.7' }, 'Ban 192.0.2.7'],
    [{ kind: 'unban', ip: '192.0.2.7' }, 'Allow 192.0.2.7'],
    [{ kind: 'country', country: 'FR' }, 'Block the country FR'],
    [
      { kind: 'limit', endpoint: '/login', requests: 5, window_s: 60 },
      'Limit /login to 5 requests in 1 min',
    ],
    [
      { kind: 'rate_limit', requests: 1200, window_s: 3600 },
      'Limit each client to 1,200 requests in 1 h',
    ],
    [{ kind: 'user_agent', pattern: 'sqlmap' }, 'Block the user agent sqlmap'],
    [{ kind: 'pattern', pattern: 'union' }, 'Detect union as an attack'],
    [{ kind: 'cloud', cloud: 'AWS' }, 'Block the cloud AWS'],
    [{ kind: 'feature', feature: 'ip_banning', enabled: false }, 'Turn ip banning off'],
    [{ kind: 'auto_ban', threshold: 5, ban_s: 600 }, 'Ban after 5 detections for 10 min'],
    [{ kind: 'emergency', allowed: [] }, 'Emergency: let in only nobody'],
    [{ kind: 'something_new' }, 'something_new'],
  ])('%o is told in words', (fields, words) => {
    expect(tell(entry(fields))).toBe(words);
  });

  it('is sent with numbers and switches as the API takes them, and without empty fields', () => {
    const kind = (name: string) => KINDS.find((it) => it.kind === name) ?? KINDS[0];
    const made = (name: string, typed: Record<string, string>) => {
      const found = kind(name);
      return found && body(found, typed);
    };
    expect(made('limit', { endpoint: ' /login ', requests: '5', window_s: '60' })).toEqual({
      endpoint: '/login',
      requests: 5,
      window_s: 60,
    });
    expect(made('feature', { feature: 'ip_banning', enabled: 'off' })).toEqual({
      feature: 'ip_banning',
      enabled: false,
    });
    expect(made('auto_ban', { threshold: '5', ban_s: '' })).toEqual({ threshold: 5 });
  });

  it('is in a collection of the API', () => {
    expect(collectionOf('user_agent')).toBe('user-agents');
    expect(collectionOf('emergency')).toBe('emergency');
  });
});
