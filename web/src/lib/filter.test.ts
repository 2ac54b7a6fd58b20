// @vitest-environment node
import { describe, expect, it } from 'vitest';
import {
  complete,
  completeField,
  quote,
  split,
  term,
  typing,
  withoutTerm,
  withTerm,
} from './filter';

describe('terms', () => {
  it('leave plain values as they are and quote all others', () => {
    expect(quote('/api/items')).toBe('/api/items');
    expect(quote('2001:db8::1')).toBe('2001:db8::1');
    expect(quote('rate limit')).toBe('"rate limit"');
    expect(quote('say "hi" \\ bye')).toBe('"say \\"hi\\" \\\\ bye"');
    // These have a meaning in the language: any text, a comparison, a range, a group.
    for (const value of ['a*b', '>=400', '1..2', 'f(x)', ''])
      expect(quote(value)).toBe(`"${value}"`);
  });

  it('say that a value is missing', () => {
    expect(term('country', null)).toBe('-country:*');
    expect(term('country', null, true)).toBe('country:*');
  });

  it('are added once and replace their opposite', () => {
    expect(withTerm('', 'country', 'DE')).toBe('country:DE');
    expect(withTerm('country:DE', 'country', 'DE')).toBe('country:DE');
    expect(withTerm('sqlmap country:DE', 'country', 'DE', true)).toBe('sqlmap -country:DE');
  });

  it('bind a filter with OR before they are added', () => {
    expect(withTerm('a OR b', 'country', 'DE')).toBe('(a OR b) country:DE');
  });
});

describe('split', () => {
  it('cuts at spaces outside quotes and parentheses', () => {
    expect(split('reason:"rate limit" AND (a OR b) NOT x')).toEqual([
      'reason:"rate limit"',
      '(a OR b)',
      'NOT x',
    ]);
    expect(split('reason:"a \\" b" c')).toEqual(['reason:"a \\" b"', 'c']);
  });

  it('finds no terms in a filter with OR', () => {
    expect(split('a OR b')).toBeNull();
  });

  it('lets one term be removed', () => {
    expect(withoutTerm('a NOT b c', 1)).toBe('a c');
  });
});

describe('completion', () => {
  it('knows whether a field or a value is typed', () => {
    expect(typing('cou', 3)).toEqual({ field: null, text: 'cou', start: 0 });
    expect(typing('a -cou', 6)).toEqual({ field: null, text: 'cou', start: 3 });
    expect(typing('country:D', 9)).toEqual({ field: 'country', text: 'D', start: 8 });
    expect(typing('reason:"rate li', 15)).toEqual({ field: 'reason', text: 'rate li', start: 7 });
  });

  it('offers fields that begin with the text before those that contain it', () => {
    expect(completeField('rea')[0]).toBe('reason');
    expect(completeField('type')).toContain('event_type');
  });

  it('replaces what was typed and keeps the rest', () => {
    expect(complete('cou', 3, 'country')).toEqual({ filter: 'country:', caret: 8 });
    expect(complete('country:D method:GET', 9, 'DE')).toEqual({
      filter: 'country:DE method:GET',
      caret: 11,
    });
    expect(complete('reason:"rate', 12, 'rate limit').filter).toBe('reason:"rate limit" ');
  });
});
