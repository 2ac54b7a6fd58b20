import { beforeEach, describe, expect, it } from 'vitest';
import { href, outerHref, parse, router } from './router.svelte';

beforeEach(() => {
  document.head.innerHTML = '<base href="/guard/">';
  router.go('/guard/p/shop/events?filter=a&from=-7d&event=e1');
});

describe('the address bar', () => {
  it('names project, page and what follows', () => {
    expect(parse('p/shop%20api/address/2001:db8::%2F64')).toEqual({
      project: 'shop api',
      page: 'address',
      rest: '2001:db8::/64',
    });
    expect(parse('sign-in').page).toBe('sign-in');
    expect(parse('p/shop').page).toBe('overview');
    expect(parse('p/%E0%A4%A').project).toBe('%E0%A4%A');
  });

  it('keeps filter and range from page to page, below the base path', () => {
    expect(href('overview')).toBe('/guard/p/shop/overview?filter=a&from=-7d');
    expect(href('address', { filter: null }, '1.2.3.4')).toBe(
      '/guard/p/shop/address/1.2.3.4?from=-7d',
    );
    expect(outerHref('sign-in', { back: 'p/shop' })).toBe('/guard/sign-in?back=p%2Fshop');
  });

  it('gets one entry of the history for each change, and none for no change', () => {
    const before = history.length;
    router.set({ filter: 'b' });
    router.set({ filter: 'b' });
    router.set({ event: null }, 'replace');
    expect(history.length).toBe(before + 1);
    expect(location.search).toBe('?filter=b&from=-7d');
    expect(router.get('filter')).toBe('b');
    expect(router.get('event')).toBe('');
  });

  it('fills everything again after Back', async () => {
    router.set({ filter: 'b' });
    const back = new Promise((resolve) => addEventListener('popstate', resolve, { once: true }));
    history.back();
    await back;
    expect(router.get('filter')).toBe('a');
  });
});
