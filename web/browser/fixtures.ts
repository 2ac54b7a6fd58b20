/** Data as guard-server answers it: one attack in the last hours, with payloads in every field. */
import type {
  Address,
  Adoption,
  Agent,
  Agents,
  Ban,
  Entries,
  Item,
  Losses,
  MetricSeries,
  Overview,
  Passive,
  RulesVersion,
  Series,
  Top,
} from '../src/lib/types';

/** What an attacker would put into a field. It must never run, and never be markup. */
export const PAYLOAD = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`;

const NOW = Date.now();
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const iso = (at: number) => new Date(at).toISOString().replace('Z', '000Z');
const at = <T>(values: readonly T[], index: number): T => values[index % values.length] as T;

const IPS = ['203.0.113.7', '203.0.113.7', '198.51.100.23', '2001:db8:52::9', null, '192.0.2.144'];
const ENDPOINTS = ['/login', '/login', '/api/items/{id}', '/wp-admin/setup.php', `/?q=${PAYLOAD}`];
const REASONS = ['SQL injection: union select', 'rate limit 60 per minute', PAYLOAD];
const ACTIONS = ['request_blocked', 'request_blocked', 'logged_only', 'banned'];
const TYPES = ['penetration_attempt', 'rate_limited', 'pattern_detected', 'ip_banned'];
const AGENTS = ['sqlmap/1.8#stable (https://sqlmap.org)', 'python-requests/2.32', PAYLOAD];

export function item(index: number, time = NOW - 3000 - index * index * 700): Item {
  return {
    id: `e${index}`,
    received_at: iso(time + 200),
    install_id: `3f2a9d1${index % 4}-4d2e`,
    event: {
      idempotency_key: `k${index}`,
      timestamp: iso(time),
      event_type: at(TYPES, index),
      ip_address: at(IPS, index),
      country: at(['RU', 'CN', 'US', null, PAYLOAD], index),
      user_agent: at(AGENTS, index),
      action_taken: at(ACTIONS, index),
      reason: at(REASONS, index),
      endpoint: at(ENDPOINTS, index),
      method: at(['POST', 'GET'], index),
      status_code: at([403, 429], index),
      response_time: 0.02 + (index % 7) / 100,
      pattern_matched: 'union\\s+select',
      metadata: { 'guard.rule.id': 'block-1', 'guard.threat_score': 80, note: PAYLOAD },
    },
  };
}

export const ITEMS: readonly Item[] = Array.from({ length: 400 }, (_, index) => item(index));

const BUCKETS = Array.from({ length: 96 }, (_, index) => iso(NOW - (96 - index) * 15 * MINUTE));
const wave = (index: number) => 14 + 12 * Math.sin(index / 8);
const attack = (index: number) => Math.exp(-((index - 82) ** 2) / 18);

export function series(): Series {
  const counts = (of: (index: number) => number) =>
    BUCKETS.map((_, index) => Math.round(of(index)));
  const parts = [
    { key: 'request_blocked', counts: counts((it) => wave(it) + 150 * attack(it)) },
    { key: 'logged_only', counts: counts(wave) },
    { key: 'banned', counts: counts((it) => 60 * attack(it)) },
  ];
  const total = parts.flatMap((part) => part.counts).reduce((sum, it) => sum + it, 0);
  const other = BUCKETS.map(() => 0);
  return { interval_s: 900, buckets: BUCKETS, series: parts, other, total, partial: true };
}

/** Blocked requests a minute, with an attack that goes on. */
export function minutes(): Series {
  const buckets = BUCKETS.map((_, index) => iso(NOW - (96 - index) * MINUTE));
  const other = BUCKETS.map((_, index) => (index > 82 ? 100 : 3));
  return { interval_s: 60, buckets, series: [], other, total: 1546, partial: true };
}

export function metric(stat: string): MetricSeries {
  const level = stat === 'p50' ? 0.02 : stat === 'p95' ? 0.08 : 0.24;
  const values = BUCKETS.map((_, index) =>
    index > 30 && index < 34 ? null : level * (1 + 0.2 * Math.sin(index / 7)),
  );
  return { interval_s: 900, buckets: BUCKETS, series: [{ key: null, values }], partial: true };
}

function top(keys: readonly (string | null)[]): Top {
  const times = { first: iso(NOW - 24 * HOUR), last: iso(NOW - 9000) };
  const items = keys.map((key, index) => ({
    key,
    count: Math.round(2310 * 0.55 ** index),
    ...times,
  }));
  const total = items.reduce((sum, { count }) => sum + count, 230);
  return { items, distinct: keys.length + 14, other: 230, total };
}

export const TOPS: Record<string, Top> = {
  ip_address: top([...new Set(IPS)]),
  endpoint: top([...new Set(ENDPOINTS)]),
  reason: top(REASONS),
  event_type: top(TYPES),
  country: top(['RU', 'CN', 'US', null, PAYLOAD]),
  user_agent: top(AGENTS),
  action_taken: top([...new Set(ACTIONS)]),
  install_id: top(['3f2a9d10-4d2e']),
};
const topOf = (field: string) => TOPS[field] ?? top([]);

const ban = (id: string, ip: string, minutesLeft: number | null, reason: string): Ban => ({
  id,
  ip,
  reason,
  author: 'anna',
  created_at: iso(NOW - HOUR),
  ends_at: minutesLeft === null ? null : iso(NOW + minutesLeft * MINUTE),
});
const BANS = [
  ban('b1', '203.0.113.7', 52, 'SQL injection'),
  ban('b2', '198.51.100.23', 86, PAYLOAD),
  ban('b3', '192.0.2.0/24', null, 'scanner network'),
];

export function overview(): Overview {
  const total = (count: number, previous: number) => ({
    count,
    previous,
    change: previous ? (count - previous) / previous : null,
  });
  return {
    from: iso(NOW - 24 * HOUR),
    to: iso(NOW),
    previous: { from: iso(NOW - 48 * HOUR), to: iso(NOW - 24 * HOUR) },
    totals: {
      events: total(9123, 8000),
      blocked: total(8214, 1993),
      banned: total(3, 0),
      would_block: total(412, 448),
      requests: total(1482091, 1424000),
    },
    response_time: { p50: 0.021, p95: 0.084, p99: 0.24, previous_p95: 0.082 },
    series: series(),
    sparklines: {
      requests: BUCKETS.map((_, index) => 14000 + 3000 * Math.sin(index / 9)),
      response_time_p95: metric('p95').series[0]?.values ?? [],
    },
    tops: {
      ip_address: topOf('ip_address'),
      endpoint: topOf('endpoint'),
      reason: topOf('reason'),
      event_type: topOf('event_type'),
      country: topOf('country'),
      user_agent: topOf('user_agent'),
    },
    bans: { active: BANS.length, next_ends_at: BANS[0]?.ends_at ?? null, items: BANS },
    agents: {
      total: 4,
      reporting: 3,
      silent: 1,
      degraded: 1,
      failed: 0,
      rules_version: 18,
      rules_applied: 3,
    },
    losses: { total: 3, by_reason: [{ reason: 'queue_full', count: 3 }] },
  };
}

export function address(ip: string): Address {
  return {
    ip,
    from: iso(NOW - 24 * HOUR),
    to: iso(NOW),
    first_seen: iso(NOW - 14 * HOUR),
    last_seen: iso(NOW - 3000),
    total: 3912,
    event_types: topOf('event_type'),
    actions: topOf('action_taken'),
    endpoints: topOf('endpoint'),
    user_agents: topOf('user_agent'),
    reasons: topOf('reason'),
    installs: topOf('install_id'),
    series: series(),
    bans: {
      active: BANS.filter((it) => it.ip === ip),
      past: [
        {
          at: iso(NOW - HOUR),
          action: `ban ${ip}`,
          author: 'anna',
          reason: 'SQL injection',
          version: 18,
        },
      ],
      by_guards: ITEMS.filter(({ event }) => event.action_taken === 'banned').slice(0, 2),
    },
    rules: [{ source: 'document', field: 'ip_blacklist', value: ip }],
  };
}

export function passive(): Passive {
  const items = REASONS.map((reason, index) => ({
    reason,
    rule_id: index ? 'block-1' : null,
    rule_type: null,
    count: Math.round(260 / (index + 1)),
    addresses: 14 - index,
    endpoints: 3,
    first: iso(NOW - 24 * HOUR),
    last: iso(NOW - index * 8 * MINUTE),
    samples: ITEMS.slice(index * 3, index * 3 + 3),
  }));
  return { total: 479, items, other: 2 };
}

function agent(index: number, changes: Partial<Agent> = {}): Agent {
  return {
    install_id: `3f2a9d1${index}-4d2e-4b8c-9a55-0d1f4bb7f1d2`,
    hostname: `web-${index}`,
    pid: 4000 + index,
    agent: 'fastapi-guard-agent',
    agent_version: '2.0.0',
    status: 'healthy',
    silent: false,
    last_seen: iso(NOW - index * 4000),
    uptime_s: 86400 * index,
    last_flush: iso(NOW - 2000),
    queue: { buffered: index * 3, spooled: 0 },
    ledger: { delivered: 19180 + index, dropped: index === 2 ? { queue_full: 3 } : {} },
    errors: [],
    rules: { in_force: 18, fetched: 18, applied: 18, state: 'applied', refused: null },
    processes: 4,
    ...changes,
  };
}

export function agents(): Agents {
  const silent = { silent: true, last_seen: iso(NOW - 5 * HOUR) };
  const degraded = { status: 'degraded' as const, errors: [`delivery failed: ${PAYLOAD}`] };
  return {
    items: [agent(4, degraded), agent(3, silent), agent(1), agent(2)],
    next: null,
    counts: overview().agents,
  };
}

export function losses(): Losses {
  return {
    interval_s: 900,
    buckets: BUCKETS,
    partial: true,
    series: [{ key: 'queue_full', counts: BUCKETS.map((_, index) => (index === 40 ? 3 : 0)) }],
    other: BUCKETS.map(() => 0),
    total: 3,
    by_reason: [{ reason: 'queue_full', source: 'agent', count: 3 }],
    by_install: [{ install_id: agent(2).install_id, total: 3, dropped: { queue_full: 3 } }],
  };
}

export function entries(): Entries {
  const made = { author: 'ben', created_at: iso(NOW - 9 * HOUR), ends_at: null };
  return {
    version: 18,
    entries: [
      ...BANS.map((it) => ({ kind: 'ban', ...it })),
      {
        id: 'l1',
        kind: 'limit',
        endpoint: '/login',
        requests: 5,
        window_s: 60,
        reason: null,
        ...made,
      },
      { id: 'c1', kind: 'country', country: 'KP', reason: PAYLOAD, ...made },
    ],
  };
}

export function version(number: number): RulesVersion {
  return {
    version: number,
    created_at: iso(NOW - (18 - number) * HOUR),
    action: at(['ban 203.0.113.7', 'limit /login to 5 in 60 s', 'publish'], number),
    author: 'anna',
    reason: number % 2 ? PAYLOAD : null,
    document: { rule_id: 'default-rule', version: number, blocked_countries: ['KP'] },
  };
}

export function adoption(applied: number): Adoption {
  const counts = { refused: 0, fetched: 0, silent: 0, in_intervals: 0 };
  return {
    version: 19,
    counts: { ...counts, applied, waiting: 4 - applied },
    agents: agents().items.map((it, index) => ({
      state: index < applied ? 'applied' : 'waiting',
      install_id: it.install_id,
      process: `p${index}`,
      agent: 'fastapi-guard-agent/2.0.0',
      seen_at: it.last_seen ?? '',
      expected_by: null,
      refused: null,
    })),
  };
}

/** Answers of the settings: what matters is that each page shows them. */
export const SETTINGS: Record<string, unknown> = {
  keys: {
    items: [
      {
        id: 'k1',
        label: PAYLOAD,
        created_at: iso(NOW - 99 * HOUR),
        created_by: 'person:anna',
        last_used_at: iso(NOW - 2000),
      },
    ],
    next: null,
  },
  people: {
    items: [
      { name: 'anna', role: 'admin', projects: ['*'], has_password: true, signed_in_at: iso(NOW) },
      {
        name: 'ben',
        role: 'operator',
        projects: ['shop'],
        has_password: false,
        signed_in_at: null,
      },
    ],
    next: null,
  },
  tokens: {
    items: [
      {
        id: 't1',
        label: 'nightly export',
        role: 'viewer',
        projects: ['shop'],
        expires_at: null,
        last_used_at: iso(NOW - HOUR),
      },
    ],
    next: null,
  },
  audit: {
    items: [
      {
        at: iso(NOW - HOUR),
        who: 'person:anna',
        address: '192.0.2.9',
        action: 'rules.ban',
        project: 'shop',
        object: '203.0.113.7',
        before: null,
        after: { reason: PAYLOAD },
      },
    ],
    next: null,
  },
};
