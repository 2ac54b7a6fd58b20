// @vitest-environment node
import { describe, expect, it } from 'vitest';
import { cell, COLUMNS, columnsOf, DEFAULT_COLUMNS, filterValue, readColumns } from './columns';
import type { Item } from './types';

const item: Item = {
  id: 'e1',
  received_at: '2026-11-30T14:00:01Z',
  install_id: null,
  event: {
    timestamp: '2026-11-30T14:00:00Z',
    event_type: 'probe',
    method: 'GET',
    endpoint: '/login',
    status_code: 403,
    rule_type: { odd: true } as unknown as string,
  },
};
const column = (name: string) => COLUMNS.find((it) => it.name === name) ?? { name, label: name };

describe('columns', () => {
  it('are read from the address bar, without those that do not exist', () => {
    expect(readColumns('timestamp,nothing,reason')).toEqual(['timestamp', 'reason']);
    expect(readColumns('')).toEqual(DEFAULT_COLUMNS);
    expect(readColumns('nothing')).toEqual(DEFAULT_COLUMNS);
  });

  it('begin on a phone with who it was and what was done', () => {
    const names = columnsOf(DEFAULT_COLUMNS, true).map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(['timestamp', 'action_taken', 'ip_address']);
    expect([...names].sort()).toEqual([...DEFAULT_COLUMNS].sort());
  });

  it('show a request as method and path, and a missing value as nothing', () => {
    expect(cell(item, 'request')).toBe('GET /login');
    expect(cell(item, 'status_code')).toBe('403');
    expect(cell(item, 'rule_type')).toBe('{"odd":true}');
    expect(cell(item, 'country')).toBe('');
    expect(cell(item, 'install_id')).toBe('');
  });

  it('filter by the field behind a cell', () => {
    expect(filterValue(item, column('request'))).toBe('/login');
    expect(filterValue(item, column('country'))).toBeNull();
  });
});
