/** Numbers, durations and times as people read them. */

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const few = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 2 });
const some = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 });
/** A dash for a value that is missing. */
export const NONE = '–';

export function count(value: number | null | undefined): string {
  return value == null ? NONE : whole.format(value);
}

/** `1.2 M`: for axes and narrow places. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return some.format(value / 1e9) + ' G';
  if (size >= 1e6) return some.format(value / 1e6) + ' M';
  if (size >= 1e4) return some.format(value / 1e3) + ' k';
  return some.format(value);
}

/** The change against the period before, such as `+12 %` or `× 40`; empty if there is nothing to compare. */
export function change(now: number | null | undefined, before: number | null | undefined): string {
  if (now == null || before == null || before === 0) return '';
  const percent = ((now - before) / before) * 100;
  const text = whole.format(Math.abs(percent));
  if (text === '0') return '±0 %';
  // Beyond that a percentage is hard to read.
  if (percent >= 1000) return `× ${whole.format(now / before)}`;
  return `${percent > 0 ? '+' : '−'}${text} %`;
}

/** A response time in seconds, such as `84 ms` or `1.5 s`. */
export function latency(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  if (seconds < 0.001) return `${brief(seconds * 1e6)} µs`;
  if (seconds < 1) return `${brief(seconds * 1000)} ms`;
  return `${brief(seconds)} s`;
}

/** Two digits, or all of a larger whole number. */
function brief(value: number): string {
  return (value < 100 ? few : whole).format(value);
}

export function bytes(value: number | null | undefined): string {
  if (value == null) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${some.format(size)} ${units[unit]}`;
}

/** A span of seconds in its largest unit, such as `52 min`. */
export function span(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${whole.format(Math.round(seconds / 86400))} days`;
}

const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const dayAndClock = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const full = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});

/** A time in the reader's zone: relative when it is less than an hour ago, else with its date as needed. */
export function time(iso: string, now: number): string {
  const at = Date.parse(iso);
  if (Number.isNaN(at)) return iso;
  const ago = (now - at) / 1000;
  if (ago >= -5 && ago < 3600) return `${span(ago)} ago`;
  if (ago < 0 && ago > -48 * 3600) return `in ${span(-ago)}`;
  const day = (milliseconds: number) => new Date(milliseconds).toDateString();
  if (day(at) === day(now)) return clock.format(at);
  return Math.abs(ago) < 300 * 86400 ? dayAndClock.format(at) : full.format(at);
}

/** The same time in full, in the reader's zone. */
export function fullTime(iso: string): string {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? iso : full.format(at);
}

/** The time in UTC as hover shows it. */
export function utc(iso: string): string {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? iso : new Date(at).toISOString().replace('T', ' ').replace('Z', ' UTC');
}

const countries = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });

/** The name of a country by its code of two letters; empty for anything else. */
export function countryName(code: string | null): string {
  return code && /^[A-Z]{2}$/.test(code) ? (countries.of(code) ?? '') : '';
}

/** The time zone of the reader, in which days begin. */
export function zone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}
