import { describe, expect, it } from 'vitest';
import { original, parse, shown, write } from './hidden';

const UNRULY = '/\u202eexe.\u009b2J\u0000';
const SHOWN = '/\\u{202e}exe.\\u{9b}2J\\u{0}';

describe('text of others', () => {
  it('shows characters that would hide or reverse text', () => {
    expect(shown(UNRULY)).toBe(SHOWN);
    expect(parse(JSON.stringify({ events: [{ endpoint: UNRULY, status: 403 }] }))).toEqual({
      events: [{ endpoint: SHOWN, status: 403 }],
    });
  });

  it('sends the characters that the server knows', () => {
    expect(original(SHOWN)).toBe(UNRULY);
    expect(write({ reason: SHOWN, duration_s: 60 })).toBe(
      JSON.stringify({ reason: UNRULY, duration_s: 60 }),
    );
  });

  it('leaves all other text as it is', () => {
    const text = 'é 日本 \t\n "quoted" \\u0041 \\u{41}';
    expect(shown(text)).toBe(text);
    expect(original(text)).toBe(text);
  });
});
