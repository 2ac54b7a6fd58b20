/**
 * Text of others may hold characters that hide, reverse or break the text beside them: control characters, and those
 * that change the direction of text. Answers of the server get them as escapes, `\u{202e}`, as on the command line.
 * Requests get them back, so that a filter by a shown value finds it.
 */

const HIDDEN = /(?![\t\n\r])\p{Cc}|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;
const ESCAPED = /\\u\{([0-9a-f]{1,4})\}/g;

export function shown(text: string): string {
  return text.replace(HIDDEN, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}

export function original(text: string): string {
  return text.replace(ESCAPED, (escape, code: string) => {
    const character = String.fromCharCode(parseInt(code, 16));
    return shown(character) === escape ? character : escape;
  });
}

/** Parses an answer of the server. */
export function parse(json: string): unknown {
  return JSON.parse(json, (_, value: unknown) =>
    typeof value === 'string' ? shown(value) : value,
  );
}

/** The body of a request. */
export function write(body: unknown): string {
  return JSON.stringify(body, (_, value: unknown) =>
    typeof value === 'string' ? original(value) : value,
  );
}
