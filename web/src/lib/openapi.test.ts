// @vitest-environment node
import { expect, it } from 'vitest';
import { apiDocument } from '../../browser/api-document';
import { callers, curl, limits, Reference } from './openapi';

const reference = new Reference(apiDocument);
const operation = reference.groups[0]?.operations[0];

it('an operation becomes a command for a shell', () => {
  if (!operation) throw new Error('no operation');
  const body = reference.bodies(operation)[0]?.value;
  expect(curl(operation, operation.parameters ?? [], body, 'https://guard.example/base')).toBe(
    [
      "curl -X POST 'https://guard.example/base/api/v1/projects/my%20shop/views?kind=a+b'",
      '-H "Authorization: Bearer $GUARD_TOKEN"',
      "-H 'Content-Type: application/json'",
      `-d '{"name":"Anna'\\''s"}'`,
    ].join(' \\\n  '),
  );
});

it('who may call an operation is named in words', () => {
  const named = (...security: Record<string, string[]>[]) =>
    operation && callers({ ...operation, security });
  expect(named()).toBe('everybody');
  expect(named({ key: [] }, { key_as_bearer: [] })).toBe('agent');
  expect(named({ token: ['admin'] }, { session: ['admin'] })).toBe('admin');
  expect(named({ session: ['viewer'] })).toBe('viewer, signed in');
});

it('the parts of a schema are one list of fields', () => {
  const rows = reference.rows({ $ref: '#/components/schemas/View' });
  expect(rows.map(({ name, type, required }) => [name, type, required])).toEqual([
    ['from', 'string', true],
    ['ends', 'object or null', false],
    ['at', 'time or null', false],
    ['names', 'list of string', false],
  ]);
  expect(rows[1]?.inner?.properties).toHaveProperty('from');
});

it('limits are said in words', () => {
  expect(limits({ minimum: 1, maximum: 1000, default: 50 })).toBe('1 to 1,000; default 50');
  expect(limits({ maxLength: 64 })).toBe('at most 64 characters');
  expect(limits({ enum: ['a', 'b'] })).toBe('one of a, b');
});
