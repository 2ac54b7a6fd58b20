import { describe, expect, it } from 'vitest';
import { ApiError } from './api';
import { Resource } from './resource.svelte';

describe('a resource', () => {
  it('ignores the answer to an earlier request that comes late', async () => {
    const resource = new Resource<string>();
    let late: (text: string) => void = () => undefined;
    const first = resource.load(() => new Promise((resolve) => (late = resolve)));
    await resource.load(async () => 'second');
    late('first');
    await first;
    expect(resource.data).toBe('second');
  });

  it('keeps old data while the server is away, and says so', async () => {
    const resource = new Resource<string>();
    await resource.load(async () => 'old');
    await resource.load(() => Promise.reject(new ApiError(503, 'busy')));
    expect(resource.data).toBe('old');
    expect(resource.error?.detail).toBe('busy');
    await resource.load(async () => 'new');
    expect([resource.data, resource.error]).toEqual(['new', null]);
  });

  it('shows no old data when the request was refused', async () => {
    const resource = new Resource<string>();
    await resource.load(async () => 'old');
    await resource.load(() => Promise.reject(new ApiError(400, 'no such field')));
    expect(resource.data).toBeNull();
  });
});
