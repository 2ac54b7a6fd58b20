/** Time ranges as the API takes them: relative (`-24h`) or absolute (RFC 3339). */
import { fullTime, span } from './format';

export interface Range {
  from: string;
  /** `now` if the range follows the time. */
  to: string;
}

export const DEFAULT_RANGE: Range = { from: '-24h', to: 'now' };

/** The ranges that the picker offers. */
export const RANGES: readonly { from: string; label: string }[] = [
  { from: '-15m', label: 'Last 15 minutes' },
  { from: '-1h', label: 'Last hour' },
  { from: '-6h', label: 'Last 6 hours' },
  { from: '-24h', label: 'Last 24 hours' },
  { from: '-7d', label: 'Last 7 days' },
  { from: '-30d', label: 'Last 30 days' },
  { from: '-90d', label: 'Last 90 days' },
];

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

/** The seconds of a relative time such as `-24h`, or null. */
export function relativeSeconds(text: string): number | null {
  const match = /^-(\d{1,9})([smhdw])$/.exec(text);
  return match ? Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0) : null;
}

/** The time in milliseconds, or null if it is no time. */
export function instant(text: string, now: number): number | null {
  if (text === 'now') return now;
  const seconds = relativeSeconds(text);
  if (seconds !== null) return now - seconds * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** Reads the range of the address bar. Anything that is no range becomes the default. */
export function readRange(from: string, to: string): Range {
  const range = { from: from || DEFAULT_RANGE.from, to: to || DEFAULT_RANGE.to };
  const begin = instant(range.from, 0);
  const end = instant(range.to, 0);
  if (begin === null || end === null) return DEFAULT_RANGE;
  if (isLive(range) || begin < end || relativeSeconds(range.from) !== null) return range;
  return DEFAULT_RANGE;
}

/** Whether the range ends now, so that new records belong to it. */
export function isLive(range: Range): boolean {
  return range.to === 'now';
}

/** What comes before a range and is as long, in words. */
export function previous(range: Range): string {
  const seconds = isLive(range) ? relativeSeconds(range.from) : null;
  if (seconds === null) return 'the period before';
  return seconds === 86_400 ? 'the day before' : `the ${span(seconds)} before`;
}

export function describe(range: Range): string {
  const known = RANGES.find(({ from }) => from === range.from);
  if (isLive(range)) {
    if (known) return known.label;
    return relativeSeconds(range.from) !== null
      ? `Last ${range.from.slice(1)}`
      : `Since ${fullTime(range.from)}`;
  }
  return `${fullTime(range.from)} – ${fullTime(range.to)}`;
}
