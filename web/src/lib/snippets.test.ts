// @vitest-environment node
import { expect, it } from 'vitest';
import { snippets } from './snippets';

it('a snippet for each framework names the key and the server once', () => {
  const all = snippets('fg_the_key', 'https://guard.example/base');
  expect(all.map(({ name }) => name)).toEqual(['FastAPI', 'Flask', 'Django', 'Rust']);
  for (const { code } of all) {
    expect(code.split('fg_the_key').length).toBe(2);
    expect(code.split('https://guard.example/base').length).toBe(2);
  }
});
