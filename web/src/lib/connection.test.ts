import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { get } from './api';
import { connection } from './connection.svelte';
import { Resource } from './resource.svelte';

const down = () => Promise.reject(new TypeError('Failed to fetch'));
const up = async () => new Response('"figures"');
let answer: () => Promise<Response>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('fetch', () => answer());
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('a server that is lost', () => {
  it('is asked again, and what failed is loaded as soon as it answers', async () => {
    const resource = new Resource<string>();
    answer = up;
    await resource.load((signal) => get<string>('figures', {}, signal));
    answer = down;
    await resource.reload();
    expect(connection.lostAt).not.toBeNull();
    expect(resource.data).toBe('figures');
    await vi.advanceTimersByTimeAsync(5000);
    expect(connection.lostAt).not.toBeNull();
    answer = async () => new Response('"new figures"');
    await vi.advanceTimersByTimeAsync(2000);
    expect(connection.lostAt).toBeNull();
    expect(resource.data).toBe('new figures');
    expect(resource.error).toBeNull();
  });

  it('may be told by a proxy, but a refusal is an answer', async () => {
    const asked = async (status: number) => {
      answer = async () => new Response('{}', { status });
      await get('figures').catch(() => undefined);
      const isLost = connection.lostAt !== null;
      connection.found();
      return isLost;
    };
    expect(await asked(502)).toBe(true);
    expect(await asked(504)).toBe(true);
    expect(await asked(503)).toBe(false);
    expect(await asked(403)).toBe(false);
  });
});
