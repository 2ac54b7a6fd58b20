// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { DEFAULT_RANGE, describe as words, instant, readRange } from './range';

describe('ranges', () => {
  it('are the last 24 hours unless the address bar says otherwise', () => {
    expect(readRange('', '')).toEqual(DEFAULT_RANGE);
    expect(readRange('-7d', '')).toEqual({ from: '-7d', to: 'now' });
  });

  it('that make no sense become the default', () => {
    expect(readRange('soon', '')).toEqual(DEFAULT_RANGE);
    expect(readRange('2026-02-01T00:00:00Z', '2026-01-01T00:00:00Z')).toEqual(DEFAULT_RANGE);
  });

  it('are told in words', () => {
    expect(words(DEFAULT_RANGE)).toBe('Last 24 hours');
    expect(words({ from: '-3h', to: 'now' })).toBe('Last 3h');
    expect(words({ from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' })).toBe(
      '1 Jan 2026, 01:00:00 – 2 Jan 2026, 01:00:00',
    );
  });

  it('begin at a moment', () => {
    expect(instant('-15m', 1_000_000)).toBe(100_000);
    expect(instant('-15x', 0)).toBeNull();
  });
});
