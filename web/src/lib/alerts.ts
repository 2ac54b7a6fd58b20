/** Alerts and channels: their kinds, how a form makes them, and how a list tells them. */
import { count, span } from './format';
import { basePath } from './router.svelte';

/** The settings of a condition by the names of the API; `type` names the kind. */
export type Condition = { type: string } & Record<string, unknown>;

export interface ConditionField {
  name: string;
  label: string;
  type: 'filter' | 'field' | 'number' | 'span';
  start: string | number;
  min?: number;
  /** May be left empty. */
  optional?: boolean;
}

export interface ConditionKind {
  type: string;
  label: string;
  /** Whether it can be watched for each value of a field. */
  groups: boolean;
  fields: readonly ConditionField[];
  /** The condition in words. */
  tell: (condition: Condition) => string;
}

export type ChannelType = 'webhook' | 'email' | 'slack' | 'discord' | 'teams' | 'ntfy' | 'telegram';

export interface ChannelKind {
  type: ChannelType;
  label: string;
  /** The field of the API that holds the target. */
  target: 'url' | 'to';
  targetLabel: string;
  placeholder: string;
  /** What the secret is; without one there is none. */
  secret?: string;
}

const FILTER: ConditionField = {
  name: 'filter',
  label: 'Events that match; empty for all',
  type: 'filter',
  start: '',
};
const window = (label: string, start: number): ConditionField => {
  return { name: 'window_s', label, type: 'span', start };
};
const within = (condition: Condition) => span(Number(condition.window_s));
const matching = ({ filter }: Condition) =>
  filter ? `events that match ${String(filter)}` : 'events';

export const CONDITIONS: readonly ConditionKind[] = [
  {
    type: 'threshold',
    label: 'Many events',
    groups: true,
    fields: [
      FILTER,
      { name: 'count', label: 'At least this many', type: 'number', start: 100, min: 1 },
      window('Within', 300),
    ],
    tell: (it) => `${count(Number(it.count))} ${matching(it)} within ${within(it)}`,
  },
  {
    type: 'rise',
    label: 'More events than before',
    groups: true,
    fields: [
      FILTER,
      { name: 'ratio', label: 'This many times as many', type: 'number', start: 5, min: 1 },
      { name: 'minimum', label: 'And at least this many', type: 'number', start: 100, min: 1 },
      window('Within, against the same time before', 300),
    ],
    tell: (it) =>
      `${String(it.ratio)} times as many ${matching(it)} within ${within(it)} as before, at least ${count(Number(it.minimum))}`,
  },
  {
    type: 'first_seen',
    label: 'A value for the first time',
    groups: false,
    fields: [
      FILTER,
      { name: 'field', label: 'A new value of', type: 'field', start: 'country' },
      window('It ends without new values after', 3600),
    ],
    tell: (it) =>
      `a new value of ${String(it.field)}${it.filter ? `, of events that match ${String(it.filter)}` : ''}`,
  },
  {
    type: 'agent_silent',
    label: 'An agent is silent',
    groups: false,
    fields: [{ name: 'after_s', label: 'For', type: 'span', start: 900 }],
    tell: (it) => `an agent is silent for ${span(Number(it.after_s))}`,
  },
  {
    type: 'losses',
    label: 'Records are lost',
    groups: false,
    fields: [
      { name: 'count', label: 'At least this many', type: 'number', start: 1, min: 1 },
      window('Within', 300),
    ],
    tell: (it) => `${count(Number(it.count))} records lost within ${within(it)}`,
  },
  {
    type: 'storage',
    label: 'The storage fills up',
    groups: false,
    fields: [
      { name: 'days_left', label: 'Days until the disk is full', type: 'number', start: 7, min: 1 },
      {
        name: 'used_percent',
        label: "Percent of the project's limit; empty for no such limit",
        type: 'number',
        start: '',
        min: 1,
        optional: true,
      },
    ],
    tell: (it) =>
      `the disk is full within ${count(Number(it.days_left))} days` +
      (it.used_percent ? `, or ${String(it.used_percent)} % of the project's limit is used` : ''),
  },
  {
    type: 'rule_rejected',
    label: 'Agents refuse the rules',
    groups: false,
    fields: [],
    tell: () => 'an agent refuses the published rules',
  },
  {
    type: 'sign_in_failures',
    label: 'Wrong passwords at this server',
    groups: false,
    fields: [
      { name: 'count', label: 'At least this many', type: 'number', start: 20, min: 1 },
      window('Within', 300),
    ],
    tell: (it) => `${count(Number(it.count))} wrong passwords within ${within(it)}`,
  },
];

export const CHANNELS: readonly ChannelKind[] = [
  {
    type: 'slack',
    label: 'Slack',
    target: 'url',
    targetLabel: 'URL of an incoming webhook',
    placeholder: 'https://hooks.slack.com/services/…',
  },
  {
    type: 'teams',
    label: 'Microsoft Teams',
    target: 'url',
    targetLabel: 'URL of a workflow',
    placeholder: 'https://….logic.azure.com/workflows/…',
  },
  {
    type: 'discord',
    label: 'Discord',
    target: 'url',
    targetLabel: 'URL of a webhook',
    placeholder: 'https://discord.com/api/webhooks/…',
  },
  {
    type: 'email',
    label: 'Mail',
    target: 'to',
    targetLabel: 'Addresses, separated by commas',
    placeholder: 'ops@example.com',
  },
  {
    type: 'ntfy',
    label: 'ntfy',
    target: 'url',
    targetLabel: 'URL of a topic',
    placeholder: 'https://ntfy.sh/my-alerts',
    secret: 'Access token, if the topic needs one',
  },
  {
    type: 'telegram',
    label: 'Telegram',
    target: 'to',
    targetLabel: 'Number of the chat, or @name of the channel',
    placeholder: '-1001234567890',
    secret: 'Token of the bot',
  },
  {
    type: 'webhook',
    label: 'Webhook',
    target: 'url',
    targetLabel: 'URL',
    placeholder: 'https://hooks.example.com/…',
    secret: 'Key that signs the requests, at least 16 bytes',
  },
];

/** The spans that a form offers, in seconds. */
export const SPANS: readonly number[] = [60, 300, 900, 1800, 3600, 6 * 3600, 12 * 3600, 24 * 3600];

export function conditionKind(type: string): ConditionKind | undefined {
  return CONDITIONS.find((kind) => kind.type === type);
}

/** A condition in words. */
export function tell(condition: Condition): string {
  return conditionKind(condition.type)?.tell(condition) ?? condition.type;
}

/** What a form starts with: the values of `condition`, and the usual ones for the rest. */
export function typedOf(kind: ConditionKind, condition?: Condition): Record<string, string> {
  const known = condition?.type === kind.type ? condition : undefined;
  return Object.fromEntries(
    kind.fields.map(({ name, start }) => [name, String(known ? (known[name] ?? '') : start)]),
  );
}

/** The condition that a form makes. Empty optional fields are left out. */
export function conditionOf(kind: ConditionKind, typed: Record<string, string>): Condition {
  const values = kind.fields
    .map(({ name, type, optional }): [string, unknown] | null => {
      const text = (typed[name] ?? '').trim();
      if (optional && text === '') return null;
      return [name, type === 'number' || type === 'span' ? Number(text) : text];
    })
    .filter((pair) => pair !== null);
  return { type: kind.type, ...Object.fromEntries(values) };
}

/** The link of a notification on this dashboard: the server may know itself by another name. */
export function followedHref(link: string): string {
  const { pathname, search } = new URL(link, document.baseURI);
  const at = pathname.indexOf('/p/');
  return basePath() + (at < 0 ? '' : pathname.slice(at + 1)) + search;
}
