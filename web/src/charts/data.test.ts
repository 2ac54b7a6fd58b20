// @vitest-environment node
import { describe, expect, it } from 'vitest';
import type { MetricSeries, Series } from '../lib/types';
import { countsDrawing, cutBuckets, metricDrawing, stack } from './data';

const buckets = ['2026-11-30T14:00:00Z', '2026-11-30T14:15:00Z'];
const counts = (other: number[]): Series => ({
  interval_s: 900,
  buckets,
  series: [
    { key: 'banned', counts: [1, 0] },
    { key: null, counts: [2, 2] },
    { key: 'request_blocked', counts: [3, 4] },
  ],
  other,
  total: 12,
  partial: true,
});

describe('a chart of counts', () => {
  it('has the blocked requests at the bottom and all others on top', () => {
    const { lines } = countsDrawing(counts([0, 5]), 'action_taken');
    expect(lines.map(({ label }) => label)).toEqual(['blocked', 'banned', 'no action', 'other']);
    expect(stack(lines)).toEqual([
      [3, 4],
      [4, 4],
      [6, 6],
      [6, 11],
    ]);
  });

  it('counts actions of one tone together', () => {
    const { series, ...rest } = counts([0, 0]);
    const both = { ...rest, series: [...series, { key: 'blocked', counts: [5, 6] }] };
    const { lines } = countsDrawing(both, 'action_taken');
    expect(lines.map(({ label, values }) => [label, values])).toEqual([
      ['blocked', [8, 10]],
      ['banned', [1, 0]],
      ['no action', [2, 2]],
    ]);
  });

  it('has no part for other values if there are none', () => {
    expect(countsDrawing(counts([0, 0]), 'country').lines.map(({ label }) => label)).toEqual([
      'banned',
      'none',
      'request_blocked',
    ]);
  });
});

describe('the buckets that a range cuts', () => {
  const [first, last] = buckets.map((begin) => Date.parse(begin) / 1000) as [number, number];

  it('are the first if the range begins within it, and the last if it is not over', () => {
    const drawing = countsDrawing(counts([0, 0]), 'action_taken');
    expect(cutBuckets({ ...drawing, from: first })).toEqual([last]);
    expect(cutBuckets({ ...drawing, from: first + 60 })).toEqual([first, last]);
    expect(cutBuckets({ ...drawing, from: first + 60, partial: false })).toEqual([first]);
  });
});

describe('a chart of metrics', () => {
  it('has a gap for a bucket without a value', () => {
    const series: MetricSeries = {
      interval_s: 900,
      buckets,
      series: [{ key: null, values: [0.1, null] }],
      partial: false,
    };
    const { lines, times } = metricDrawing([{ label: 'p95', color: '--good', series }]);
    expect(lines[0]?.values).toEqual([0.1, null]);
    expect(times[1]).toBe(Date.parse(buckets[1] ?? '') / 1000);
  });

  it('is a gap throughout if nothing was measured', () => {
    const series: MetricSeries = { interval_s: 900, buckets, series: [], partial: false };
    expect(metricDrawing([{ label: 'p95', color: '--good', series }]).lines[0]?.values).toEqual([
      null,
      null,
    ]);
  });
});
