/** The columns of the table of events. */
import type { Item } from './types';

export interface Column {
  name: string;
  label: string;
  /** The field of the filter language that a click on its cell filters by. */
  field?: string;
  mono?: boolean;
  /** In pixels. Columns without one share what is left. */
  width?: number;
}

export const COLUMNS: readonly Column[] = [
  { name: 'timestamp', label: 'time', width: 114 },
  { name: 'action_taken', label: 'action', field: 'action_taken', width: 132 },
  { name: 'event_type', label: 'type', field: 'event_type', width: 164 },
  { name: 'ip_address', label: 'address', field: 'ip_address', mono: true, width: 140 },
  { name: 'request', label: 'request', field: 'endpoint', mono: true, width: 230 },
  { name: 'reason', label: 'why', field: 'reason' },
  { name: 'country', label: 'country', field: 'country', width: 76 },
  { name: 'status_code', label: 'status', field: 'status_code', width: 66 },
  { name: 'response_time', label: 'response time', width: 112 },
  { name: 'user_agent', label: 'user agent', field: 'user_agent' },
  { name: 'rule_type', label: 'rule type', field: 'rule_type' },
  { name: 'pattern_matched', label: 'pattern', field: 'pattern_matched', mono: true },
  { name: 'handler_name', label: 'handler', field: 'handler_name' },
  { name: 'decorator_type', label: 'decorator', field: 'decorator_type' },
  { name: 'install_id', label: 'install', field: 'install_id', mono: true },
  { name: 'received_at', label: 'received', width: 114 },
];

export const DEFAULT_COLUMNS = [
  'timestamp',
  'action_taken',
  'event_type',
  'ip_address',
  'request',
  'reason',
];

/** What a phone shows first: who, and what was done. */
const PHONE: Record<string, number> = { timestamp: 88, action_taken: 92, ip_address: 138 };

/** The columns with these names. A phone has narrower ones, and puts the type behind them. */
export function columnsOf(names: readonly string[], isPhone: boolean): Column[] {
  const found = names.flatMap((name) => COLUMNS.filter((column) => column.name === name));
  if (!isPhone) return found;
  const first = found.filter(({ name }) => name in PHONE);
  const rest = found.filter(({ name }) => !(name in PHONE));
  return [...first.map((column) => ({ ...column, width: PHONE[column.name] })), ...rest];
}

/** Reads the columns of the address bar. Unknown ones are left out; none means the default. */
export function readColumns(text: string): string[] {
  const known = text.split(',').filter((name) => COLUMNS.some((it) => it.name === name));
  return known.length ? known : DEFAULT_COLUMNS;
}

/** The text of a cell; empty if the event has no such value. */
export function cell(item: Item, name: string): string {
  if (name === 'install_id') return item.install_id ?? '';
  if (name === 'received_at') return item.received_at;
  if (name === 'request') {
    return [item.event.method, item.event.endpoint].filter(Boolean).join(' ');
  }
  const value = item.event[name];
  if (value == null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value as string | number);
}

/** The value that a click on a cell filters by. */
export function filterValue(item: Item, column: Column): string | null {
  const { field = column.name } = column;
  return cell(item, field) || null;
}
