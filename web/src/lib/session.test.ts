import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { get } from './api';
import { router } from './router.svelte';
import { session } from './session.svelte';

let status = 200;
const anna = { name: 'anna', role: 'operator', projects: ['*'] };

beforeEach(() => {
  document.head.innerHTML = '<base href="/">';
  status = 200;
  const body = () => (status === 200 ? anna : { detail: 'sign in', code: 'sign_in_needed' });
  vi.stubGlobal('fetch', async () => new Response(JSON.stringify(body()), { status }));
  router.go('/p/shop/events?filter=a');
});
afterEach(() => vi.unstubAllGlobals());

describe('a session', () => {
  it('says what a person may do', async () => {
    await session.load();
    expect([session.may('viewer'), session.may('operator'), session.may('admin')]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it('that ends leads to sign-in, which knows the way back', async () => {
    await session.load();
    status = 401;
    await get('projects').catch(() => undefined);
    expect(session.person).toBeNull();
    expect(location.pathname).toBe('/sign-in');
    expect(router.get('back')).toBe('p/shop/events?filter=a');
  });

  it('that a person ends leads to plain sign-in', async () => {
    await session.load();
    await session.signOut();
    expect(location.pathname + location.search).toBe('/sign-in');
  });

  it('is not over because the server is busy', async () => {
    status = 503;
    await session.load();
    expect(session.error?.status).toBe(503);
    expect(location.pathname).toBe('/p/shop/events');
  });
});
