import { describe, expect, it } from 'vitest';
import { near, Rows } from './rows.svelte';

describe('the rows near the screen', () => {
  it('are those on it, and some above and below', () => {
    expect(near(300, 32, 900)).toEqual({ first: 0, end: 32 });
    expect(near(-32_000, 32, 900)).toEqual({ first: 992, end: 1040 });
  });

  it('stay the same for a short scroll', () => {
    expect(near(-32_010, 32, 900)).toEqual(near(-32_090, 32, 900));
  });
});

describe('a table', () => {
  it('has all of its rows in the document if they are few', () => {
    expect(new Rows(() => 100).span).toEqual({ first: 0, end: 100 });
  });

  it('has a part of many rows, and all of them on paper', () => {
    const rows = new Rows(() => 5000);
    const stop = rows.follow(document.createElement('tbody'));
    const shown = () => rows.span.end - rows.span.first;
    expect(shown()).toBeLessThan(100);
    dispatchEvent(new Event('beforeprint'));
    expect(shown()).toBe(5000);
    dispatchEvent(new Event('afterprint'));
    expect(shown()).toBeLessThan(100);
    stop?.();
  });
});
