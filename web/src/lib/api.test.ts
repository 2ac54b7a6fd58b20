import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError, get, post, whenSignedOut } from './api';

function answer(status: number, body: string) {
  const fetched = vi.fn(async () => new Response(body, { status }));
  vi.stubGlobal('fetch', fetched);
  return fetched;
}
afterEach(() => {
  vi.unstubAllGlobals();
  whenSignedOut(() => undefined);
});

async function failure(work: Promise<unknown>): Promise<ApiError> {
  return work.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: unknown) => error as ApiError,
  );
}

describe('a call', () => {
  it('leaves empty parameters out', async () => {
    const fetched = answer(200, '{"items":[]}');
    await get('projects/a%20b/events', { filter: '', from: '-24h', cursor: null, limit: 50 });
    expect(fetched).toHaveBeenCalledWith(
      '/api/v1/projects/a%20b/events?from=-24h&limit=50',
      expect.objectContaining({ method: 'GET', body: null }),
    );
  });

  it('says what the server said', async () => {
    answer(400, '{"detail":"no field x","code":"invalid_filter","field":"filter","position":3}');
    const error = await failure(get('x'));
    expect(error).toMatchObject({
      status: 400,
      detail: 'no field x',
      code: 'invalid_filter',
      field: 'filter',
      position: 3,
      offline: false,
    });
  });

  it('says so when a proxy answers with HTML', async () => {
    answer(502, '<html>');
    const error = await failure(get('x'));
    expect(error.offline).toBe(true);
    expect(error.detail).toContain('502');
  });

  it('leads to sign-in after a 401, except for a wrong password', async () => {
    const left = vi.fn();
    whenSignedOut(left);
    answer(401, '{"detail":"sign in"}');
    await failure(post('session', { name: 'a', password: 'b' }));
    expect(left).not.toHaveBeenCalled();
    await failure(get('projects'));
    expect(left).toHaveBeenCalledTimes(1);
  });
});
