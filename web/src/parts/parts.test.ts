import { cleanup, configure, fireEvent, render, screen } from '@testing-library/svelte';
import { createRawSnippet } from 'svelte';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from '../lib/api';
import { Resource } from '../lib/resource.svelte';
import { router } from '../lib/router.svelte';
import { session } from '../lib/session.svelte';
import FilterBar from './FilterBar.svelte';
import States from './States.svelte';
import TopList from './TopList.svelte';

// A slow machine takes longer than the second that is usual.
configure({ asyncUtilTimeout: 60_000 });

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

describe('the states of a page', () => {
  const children = createRawSnippet((text: () => string) => ({ render: () => `<p>${text()}</p>` }));
  const show = (resource: Resource<string>) => {
    render(States<string>, { resource, children, isEmpty: (text: string) => text === '' });
  };

  it('are loading, then the data, then old data', async () => {
    const resource = new Resource<string>();
    show(resource);
    expect(screen.getByText('Loading')).toBeTruthy();
    await resource.load(async () => 'figures');
    expect(await screen.findByText('figures')).toBeTruthy();
    await resource.load(() => Promise.reject(new ApiError(503, 'The server is busy.')));
    expect(await screen.findByText('Old data.')).toBeTruthy();
    expect(screen.getByText('figures')).toBeTruthy();
  });

  it('are empty, and failed with a way to try again', async () => {
    const resource = new Resource<string>();
    show(resource);
    await resource.load(async () => '');
    expect(await screen.findByText(/Nothing here/)).toBeTruthy();
    let calls = 0;
    await resource.load(() => Promise.reject(new ApiError(400, `failed ${++calls}`)));
    await fireEvent.click(await screen.findByText('Try again'));
    expect(await screen.findByText('failed 2')).toBeTruthy();
  });
});

describe('a list of the most frequent values', () => {
  const top = {
    items: [{ key: '203.0.113.7', count: 12, first: '', last: '2026-11-30T14:00:00Z' }],
    distinct: 4,
    other: 3,
    total: 15,
  };

  it('filters by a click and excludes by a click with Alt', async () => {
    router.go('/p/shop/overview');
    render(TopList, { top, field: 'ip_address' });
    const key = screen.getByText('203.0.113.7');
    await fireEvent.click(key);
    expect(router.get('filter')).toBe('ip_address:203.0.113.7');
    await fireEvent.click(key, { altKey: true });
    expect(router.get('filter')).toBe('-ip_address:203.0.113.7');
  });

  it('offers a ban only to those who may ban', () => {
    session.person = { name: 'eve', role: 'viewer', projects: ['*'] };
    render(TopList, { top, field: 'ip_address' });
    expect(screen.queryByText('Ban')).toBeNull();
    cleanup();
    session.person = { name: 'anna', role: 'operator', projects: ['*'] };
    render(TopList, { top, field: 'ip_address' });
    expect(screen.getByText('Ban')).toBeTruthy();
  });
});

describe('the filter bar', () => {
  it('completes values from the server, and applies with Enter', async () => {
    router.go('/p/shop/events');
    const body = { items: [{ key: 'DE' }, { key: 'FR' }, { key: null }] };
    vi.stubGlobal('fetch', async () => new Response(JSON.stringify(body)));
    render(FilterBar);
    const input = screen.getByRole<HTMLInputElement>('combobox');
    await fireEvent.focus(input);
    await fireEvent.input(input, { target: { value: 'country:' } });
    expect(await screen.findByText('FR')).toBeTruthy();
    await fireEvent.keyDown(input, { key: 'ArrowDown' });
    await fireEvent.keyDown(input, { key: 'Enter' });
    expect(input.value).toBe('country:DE ');
    await fireEvent.keyDown(input, { key: 'Enter' });
    expect(router.get('filter')).toBe('country:DE');
  });

  it('leaves Enter to an input method while it composes', async () => {
    router.go('/p/shop/events');
    render(FilterBar);
    const input = screen.getByRole<HTMLInputElement>('combobox');
    await fireEvent.input(input, { target: { value: 'reason:東京' } });
    await fireEvent.keyDown(input, { key: 'Enter', isComposing: true });
    await fireEvent.keyDown(input, { key: 'Enter', keyCode: 229 });
    expect(router.get('filter')).toBe('');
    await fireEvent.keyDown(input, { key: 'Enter' });
    expect(router.get('filter')).toBe('reason:東京');
  });

  it('shows one chip a term, and says what is wrong', async () => {
    router.go('/p/shop/events?filter=a NOT b');
    render(FilterBar, { error: 'unknown field' });
    expect(screen.getByText('NOT b')).toBeTruthy();
    expect(screen.getByRole('alert').textContent).toBe('unknown field');
    await fireEvent.click(screen.getByLabelText('Remove a'));
    expect(router.get('filter')).toBe('NOT b');
  });
});
