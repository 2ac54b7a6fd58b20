/** The answers of the operator API, as far as the dashboard reads them. */
import type { ChannelType, Condition } from './alerts';

export type Role = 'viewer' | 'operator' | 'admin';

export interface Page<T> {
  items: T[];
  next: string | null;
}

export interface Session {
  name: string;
  role: Role;
  projects: string[];
}

export interface ProjectSettings {
  retention_days: number;
  retention_bytes: number | null;
  raw_metrics_hours: number;
  require_encryption: boolean;
  require_signature: boolean;
  ip_allowlist: string[];
  quota_per_minute: number | null;
}

export interface Project {
  name: string;
  settings: ProjectSettings;
  /** Which secrets are set. They are never shown. */
  secrets: { encryption_key: boolean; signing_secret: boolean };
  /** How many requests were refused, by reason. */
  refused: Record<string, number>;
  storage: { bytes: number; bytes_per_day: number | null; days_left: number | null };
}

export interface GuardEvent {
  timestamp: string;
  event_type: string;
  ip_address?: string | null;
  country?: string | null;
  user_agent?: string | null;
  action_taken?: string | null;
  reason?: string | null;
  endpoint?: string | null;
  method?: string | null;
  status_code?: number | null;
  response_time?: number | null;
  metadata?: Record<string, unknown> | null;
  [key: string]: unknown;
}

export interface Item {
  id: string;
  received_at: string;
  install_id: string | null;
  event: GuardEvent;
}

export interface ItemDetail extends Item {
  neighbours: { address: Item[]; correlation: Item[]; minute: Item[] };
}

export interface TopItem {
  key: string | null;
  count: number;
  first: string;
  last: string;
}

export interface Top {
  items: TopItem[];
  distinct: number;
  other: number;
  total: number;
  approximate?: boolean;
}

export interface Series {
  interval_s: number;
  buckets: string[];
  series: { key: string | null; counts: number[] }[];
  other: number[];
  total: number;
  partial: boolean;
}

export interface MetricSeries {
  interval_s: number;
  buckets: string[];
  series: { key: string | null; values: (number | null)[] }[];
  partial: boolean;
}

export interface Total {
  count: number;
  previous: number;
  change: number | null;
}

export interface Ban {
  /** null if the published document makes the ban. */
  id: string | null;
  ip: string;
  reason: string | null;
  author: string | null;
  /** null if the published document makes the ban. */
  created_at: string | null;
  ends_at: string | null;
}

export interface Overview {
  from: string;
  to: string;
  previous: { from: string; to: string };
  totals: Record<'events' | 'blocked' | 'banned' | 'would_block' | 'requests', Total>;
  response_time: {
    p50: number | null;
    p95: number | null;
    p99: number | null;
    previous_p95: number | null;
  };
  series: Series;
  sparklines: { requests: (number | null)[]; response_time_p95: (number | null)[] };
  tops: Record<TopField, Top>;
  bans: { active: number; next_ends_at: string | null; items: Ban[] };
  agents: {
    total: number;
    reporting: number;
    silent: number;
    degraded: number;
    failed: number;
    rules_version: number | null;
    rules_applied: number;
  };
  losses: { total: number; by_reason: { reason: string; count: number }[] };
}

export type TopField =
  'ip_address' | 'endpoint' | 'reason' | 'event_type' | 'country' | 'user_agent';

/** A version of the rules whose change names an address. */
export interface PastBan {
  at: string;
  action: string;
  author: string | null;
  reason: string | null;
  version: number;
}

export interface AddressRule {
  source: 'entry' | 'document';
  kind?: string;
  field?: string;
  id?: string;
  value: string;
  reason?: string | null;
  author?: string | null;
}

export interface Address {
  ip: string;
  from: string;
  to: string;
  first_seen: string | null;
  last_seen: string | null;
  total: number;
  event_types: Top;
  actions: Top;
  endpoints: Top;
  user_agents: Top;
  reasons: Top;
  installs: Top;
  series: Series;
  bans: {
    active: Ban[];
    past: PastBan[];
    by_guards: Item[];
  };
  rules: AddressRule[];
}

export interface PassiveItem {
  reason: string | null;
  rule_id: string | null;
  rule_type: string | null;
  count: number;
  addresses: number;
  endpoints: number;
  first: string;
  last: string;
  samples: Item[];
}

export interface Passive {
  total: number;
  items: PassiveItem[];
  other: number;
}

export interface Agent {
  install_id: string;
  hostname: string | null;
  pid: number | null;
  agent: string | null;
  agent_version: string | null;
  status: 'healthy' | 'degraded' | 'failed' | 'unknown';
  silent: boolean;
  last_seen: string | null;
  uptime_s: number | null;
  last_flush: string | null;
  queue: { buffered: number | null; spooled: number | null } | null;
  ledger: {
    accepted?: number;
    delivered?: number;
    queued?: number;
    spooled?: number;
    dropped?: Record<string, number>;
  } | null;
  errors: string[];
  rules: {
    in_force: number | null;
    fetched: number | null;
    applied: number | null;
    state: string | null;
    refused: string | null;
  };
  processes: number;
}

export interface Agents extends Page<Agent> {
  counts: Overview['agents'];
}

export interface Losses {
  interval_s: number;
  buckets: string[];
  partial: boolean;
  series: { key: string | null; counts: number[] }[];
  other: number[];
  total: number;
  by_reason: { reason: string; source: 'agent' | 'server'; count: number }[];
  by_install: { install_id: string; total: number; dropped: Record<string, number> }[];
}

export interface View {
  id: string;
  name: string;
  filter: string;
  from: string | null;
  columns: string[];
  created_at: string;
  created_by: string;
}

/** An operation in force. Its fields depend on `kind`. */
export interface Entry {
  /** null for a ban of the published document, which has no times either. */
  id: string | null;
  kind: string;
  reason: string | null;
  author: string | null;
  created_at: string | null;
  ends_at: string | null;
  [field: string]: unknown;
}

/** A page of the operations in force and of the bans of the published document. */
export interface InForce extends Page<Entry> {
  version: number | null;
  total: number;
  /** How many there are of each kind. */
  kinds: Record<string, number>;
}

export interface RulesVersion {
  version: number;
  created_at: string;
  action: string;
  author: string | null;
  reason: string | null;
  document?: Record<string, unknown>;
}

export interface Versions {
  versions: RulesVersion[];
  next_before: number | null;
}

export interface RulesChange {
  field: string;
  published: unknown;
  draft: unknown;
}

export interface Adopter {
  state: 'refused' | 'waiting' | 'fetched' | 'applied' | 'silent' | null;
  install_id: string;
  process: string;
  agent: string;
  seen_at: string;
  expected_by: string | null;
  refused: string | null;
}

export interface Adoption {
  version: number | null;
  counts: Record<'refused' | 'waiting' | 'fetched' | 'applied' | 'silent' | 'in_intervals', number>;
  agents: Adopter[];
}

export interface QuietHours {
  from: string;
  to: string;
  tz: string;
}

/** A group that an alert is going on for. */
export interface ActiveGroup {
  group: string | null;
  since: string;
  count: number;
  detail: string | null;
  told: boolean;
}

export interface Alert {
  id: string;
  label: string;
  condition: Condition;
  channels: string[];
  group_by: string | null;
  enabled: boolean;
  update_interval_s: number;
  quiet_hours: QuietHours | null;
  muted_until: string | null;
  active: ActiveGroup[];
  /** Why it cannot be evaluated. */
  failure: string | null;
}

export interface AlertEntry {
  at: string;
  /** `started`, `ongoing`, `ended`, or what became of a notification: `delivered`, `given_up`. */
  event: string;
  summary?: string;
  told?: boolean;
  group?: { field: string; value: string | null } | null;
  count?: number;
  channel?: string;
  channel_label?: string | null;
  /** What the receiver answered, or why it was given up. */
  detail?: string;
  links?: { view: string; ban: string | null };
}

export interface Channel {
  id: string;
  label: string;
  type: ChannelType;
  /** Of a URL only scheme and host. */
  target: string;
  has_secret: boolean;
}

/** What the receiver of a test said, or why it did not get it. */
export interface TestAnswer {
  delivered: boolean;
  status: number | null;
  text: string;
  took_ms: number;
}
