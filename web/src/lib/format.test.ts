// @vitest-environment node
import { describe, expect, it } from 'vitest';
import {
  bytes,
  change,
  count,
  countryName,
  fullTime,
  latency,
  short,
  span,
  time,
  utc,
} from './format';

const NOW = Date.parse('2026-11-30T14:00:00Z');

describe('a country', () => {
  it('has its name, if the code is one', () => {
    expect(['RU', 'QQ', '<b>', null].map(countryName)).toEqual(['Russia', '', '', '']);
  });
});

describe('numbers', () => {
  it('have thousands separators, and a dash when they are missing', () => {
    expect(count(1482091)).toBe('1,482,091');
    expect(count(null)).toBe('–');
    expect(short(1_250_000)).toBe('1.25 M');
  });

  it('show a change against the period before', () => {
    expect(change(8214, 1993)).toBe('+312 %');
    expect(change(92, 100)).toBe('−8 %');
    expect(change(8000, 20)).toBe('× 400');
    expect(change(100, 100)).toBe('±0 %');
    expect(change(5, 0)).toBe('');
  });

  it('have their unit', () => {
    expect(latency(0.084)).toBe('84 ms');
    expect(latency(1.5)).toBe('1.5 s');
    expect(bytes(3 * 1024 ** 3)).toBe('3 GiB');
    expect(span(3120)).toBe('52 min');
  });
});

describe('times', () => {
  it('are relative within the last hour, and before the next two days', () => {
    expect(time('2026-11-30T13:59:57Z', NOW)).toBe('3 s ago');
    expect(time('2026-11-30T14:52:00Z', NOW)).toBe('in 52 min');
    expect(time('2026-12-01T13:00:00Z', NOW)).toBe('in 23 h');
  });

  it('are in the zone of the reader, which is Berlin in tests', () => {
    expect(time('2026-11-30T08:00:00Z', NOW)).toBe('09:00:00');
    expect(time('2026-11-20T08:00:00Z', NOW)).toBe('20 Nov, 09:00');
    expect(fullTime('2026-07-01T08:00:00Z')).toBe('1 Jul 2026, 10:00:00');
  });

  it('are in UTC on hover, and stay as they are if they are none', () => {
    expect(utc('2026-11-30T08:00:00.000002Z')).toBe('2026-11-30 08:00:00.000 UTC');
    expect(time('yesterday', NOW)).toBe('yesterday');
  });
});
