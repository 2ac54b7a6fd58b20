import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { check } from './check';
import { session } from './session.svelte';

/** A server on which everything is well, but for what a test says. */
function server(changes: Record<string, unknown>) {
  const answers: Record<string, unknown> = {
    keys: { items: [{ last_used_at: '2026-11-30T14:00:00Z' }] },
    project: { refused: {} },
    agents: { counts: { total: 1 }, items: [{ errors: [] }] },
    summary: {},
    overview: { totals: { events: { count: 0 }, requests: { count: 12 } } },
    ...changes,
  };
  vi.stubGlobal('fetch', async (url: string) => {
    const part = /projects\/shop(?:\/(\w+))?/.exec(url)?.[1] ?? 'project';
    return new Response(JSON.stringify(answers[part]));
  });
  return check('shop', new AbortController().signal);
}

beforeEach(() => (session.person = { name: 'anna', role: 'admin', projects: ['*'] }));
afterEach(() => vi.unstubAllGlobals());

describe('why nothing is here', () => {
  it('is that nothing was detected, when all is connected', async () => {
    const checks = await server({});
    expect(checks.map(({ done }) => done)).toEqual([true, true, true, true, true]);
    expect(checks.at(-1)?.text).toBe('Metrics arrive, but no events.');
  });

  it('is a key that was never used, or is wrong', async () => {
    const keys = { items: [{ last_used_at: null }] };
    const [key, none] = await server({ keys });
    expect([key?.done, none?.done]).toEqual([false, true]);
    const [, wrong] = await server({ keys, summary: { wrong_keys: 3 } });
    expect(wrong).toMatchObject({ done: false, text: expect.stringContaining('3 requests came') });
  });

  it('is found without the keys by those who may not see them', async () => {
    session.person = { name: 'vera', role: 'viewer', projects: ['*'] };
    const [first] = await server({ keys: null, summary: { wrong_keys: 1 } });
    expect(first?.text).toBe('1 request came with a wrong key since the server started.');
  });

  it('is what the server refused, in words', async () => {
    const [, refused] = await server({ project: { refused: { not_signed: 3, other: 0 } } });
    expect(refused).toMatchObject({ done: false, text: 'Requests were refused: not signed.' });
  });

  it('is an error of an agent', async () => {
    const agents = { counts: { total: 1 }, items: [{ errors: ['no route to host'] }] };
    const checks = await server({ agents });
    expect(checks[3]).toMatchObject({ done: false, text: 'An agent reports: no route to host' });
  });

  it('is unknown for records, until an agent was seen', async () => {
    const checks = await server({ agents: { counts: { total: 0 }, items: [] } });
    expect([checks[2]?.done, checks[4]?.done]).toEqual([false, null]);
  });
});
