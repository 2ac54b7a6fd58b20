/** What a chart draws, made from the answers of the API. */
import { seriesOf, tone } from '../lib/action';
import type { MetricSeries, Series } from '../lib/types';

export interface Line {
  label: string;
  /** A colour token, such as `--bad`. */
  color: string;
  /** null is a gap. */
  values: (number | null)[];
}

export interface Drawing {
  /** The beginnings of the buckets, in seconds. */
  times: number[];
  interval: number;
  lines: Line[];
  /** Whether the last bucket is not over yet. */
  partial: boolean;
  /** When the range begins, in seconds: perhaps within the first bucket. */
  from?: number;
}

/** The beginnings of the buckets that are in the range only in part. */
export function cutBuckets({ times, partial, from }: Drawing): number[] {
  const [first, last] = [times[0], times.at(-1)];
  const cut = [];
  if (first !== undefined && from !== undefined && from > first) cut.push(first);
  if (last !== undefined && partial && last !== cut[0]) cut.push(last);
  return cut;
}

/** The actions first that people look for; then the rest as the server ranks them. */
const ORDER = ['blocked', 'logged', 'banned'];

/** Counts as stacked bars. `other` becomes the last part, if it holds anything. */
export function countsDrawing(series: Series, by: string): Drawing {
  const rank = (key: string | null) => {
    const at = ORDER.indexOf(tone(key));
    return at < 0 ? ORDER.length : at;
  };
  const sorted =
    by === 'action_taken'
      ? [...series.series].sort((a, b) => rank(a.key) - rank(b.key))
      : series.series;
  const plain = (key: string | null, index: number) => ({
    label: key ?? 'none',
    color: `--series-${(index % 8) + 1}`,
  });
  const shown = by === 'action_taken' ? seriesOf : plain;
  const lines = sorted.map(({ key, counts }, index) => ({ ...shown(key, index), values: counts }));
  if (series.other.some((value) => value > 0)) {
    const label = series.series.length ? 'other' : 'events';
    lines.push({ label, color: '--series-7', values: series.other });
  }
  return {
    times: series.buckets.map((begin) => Date.parse(begin) / 1000),
    interval: series.interval_s,
    lines: merged(lines),
    partial: series.partial,
  };
}

/** Lines with the same label as one, with their sum: actions of one tone. */
function merged(lines: readonly Line[]): Line[] {
  const byLabel = new Map<string, Line>();
  for (const line of lines) {
    const first = byLabel.get(line.label);
    const values = line.values.map((value, at) => (first?.values[at] ?? 0) + (value ?? 0));
    byLabel.set(line.label, { ...(first ?? line), values });
  }
  return [...byLabel.values()];
}

/** Metrics as lines; a bucket without a value stays a gap. */
export function metricDrawing(parts: { label: string; color: string; series: MetricSeries }[]) {
  const first = parts[0]?.series;
  return {
    times: (first?.buckets ?? []).map((begin) => Date.parse(begin) / 1000),
    interval: first?.interval_s ?? 60,
    lines: parts.map(({ label, color, series }) => ({
      label,
      color,
      values: series.series[0]?.values ?? series.buckets.map(() => null),
    })),
    partial: first?.partial ?? false,
  } satisfies Drawing;
}

/** Each line on top of those before it, for stacked bars. */
export function stack(lines: readonly Line[]): (number | null)[][] {
  const sums: number[] = [];
  return lines.map(({ values }) =>
    values.map((value, at) => (sums[at] = (sums[at] ?? 0) + (value ?? 0))),
  );
}
