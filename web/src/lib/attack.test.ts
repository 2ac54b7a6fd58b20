// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { attackIn } from './attack';

const NOW = Date.parse('2026-11-30T14:00:00Z');
const minutes = (counts: number[]) =>
  counts.map((_, at) => new Date(NOW - (counts.length - at) * 60_000).toISOString());
const find = (counts: number[]) => attackIn(minutes(counts), counts, NOW);

describe('an attack', () => {
  it('is far above the usual minutes and goes on until now', () => {
    const counts = [...new Array<number>(60).fill(2), 40, 50, 3, 60];
    expect(find(counts)).toEqual({ since: minutes(counts)[60], blocked: 153 });
  });

  it('is not the usual noise, nor a few requests after silence', () => {
    expect(find(new Array<number>(60).fill(30))).toBeNull();
    expect(find([...new Array<number>(60).fill(0), 5, 6])).toBeNull();
    expect(find([])).toBeNull();
  });

  it('is over after minutes of quiet', () => {
    expect(
      find([...new Array<number>(60).fill(2), 90, ...new Array<number>(8).fill(2)]),
    ).toBeNull();
  });
});
