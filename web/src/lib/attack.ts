/** Tells an attack from the usual noise, by blocked requests per minute. */

export interface Attack {
  /** When it began. */
  since: string;
  blocked: number;
}

/** This many minutes must have been quiet for the attack to be over. */
const QUIET_MIN = 5;
/** An attack has at least this many blocked requests a minute, and this many times the usual. */
const LEAST_PER_MIN = 10;
const TIMES_USUAL = 4;

/**
 * The attack that is going on, if there is one: minutes far above the median of the others, the
 * last of them in the last five.
 */
export function attackIn(
  buckets: readonly string[],
  counts: readonly number[],
  now: number,
): Attack | null {
  const sorted = [...counts].sort((a, b) => a - b);
  const usual = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const high = Math.max(LEAST_PER_MIN, usual * TIMES_USUAL);
  let first = -1;
  let last = -1;
  for (let at = counts.length - 1; at >= 0; at--) {
    if ((counts[at] ?? 0) >= high) {
      if (last < 0) last = at;
      first = at;
    } else if (first >= 0 && first - at > QUIET_MIN) break;
  }
  const [since, end] = [buckets[first], buckets[last]];
  if (since === undefined || end === undefined) return null;
  if (now - Date.parse(end) > (QUIET_MIN + 1) * 60_000) return null;
  const blocked = counts.slice(first).reduce((sum, value) => sum + value, 0);
  return { since, blocked };
}
