/** The operations on the rules: how a form makes one, and how a list tells it. */
import { count, span } from './format';
import type { Entry } from './types';

export interface OperationField {
  name: string;
  label: string;
  type: 'text' | 'number' | 'choice' | 'list';
  choices?: readonly string[];
  placeholder?: string;
}

export interface OperationKind {
  kind: string;
  /** The collection of the API. */
  collection: string;
  label: string;
  fields: readonly OperationField[];
}

const FEATURES = ['penetration_detection', 'ip_banning', 'rate_limiting', 'rate_limit_auto_ban'];
const CLOUDS = ['AWS', 'GCP', 'Azure', 'DigitalOcean', 'Linode', 'Vultr'];
const REQUESTS: OperationField = { name: 'requests', label: 'Requests', type: 'number' };
const WINDOW: OperationField = { name: 'window_s', label: 'In seconds', type: 'number' };

export const KINDS: readonly OperationKind[] = [
  {
    kind: 'ban',
    collection: 'bans',
    label: 'Ban an address or block',
    fields: [
      { name: 'ip', label: 'Address or CIDR block', type: 'text', placeholder: '192.0.2.7' },
    ],
  },
  {
    kind: 'unban',
    collection: 'unbans',
    label: 'Allow an address',
    fields: [{ name: 'ip', label: 'Address', type: 'text', placeholder: '192.0.2.7' }],
  },
  {
    kind: 'country',
    collection: 'countries',
    label: 'Block a country',
    fields: [{ name: 'country', label: 'Country code', type: 'text', placeholder: 'FR' }],
  },
  {
    kind: 'limit',
    collection: 'limits',
    label: 'Limit a path',
    fields: [
      { name: 'endpoint', label: 'Path', type: 'text', placeholder: '/login' },
      REQUESTS,
      WINDOW,
    ],
  },
  {
    kind: 'rate_limit',
    collection: 'rate-limit',
    label: 'Limit all requests of a client',
    fields: [REQUESTS, WINDOW],
  },
  {
    kind: 'user_agent',
    collection: 'user-agents',
    label: 'Block a user agent',
    fields: [{ name: 'pattern', label: 'Regular expression', type: 'text', placeholder: 'sqlmap' }],
  },
  {
    kind: 'pattern',
    collection: 'patterns',
    label: 'Add an attack pattern',
    fields: [{ name: 'pattern', label: 'Regular expression', type: 'text' }],
  },
  {
    kind: 'cloud',
    collection: 'clouds',
    label: 'Block a cloud',
    fields: [{ name: 'cloud', label: 'Cloud', type: 'choice', choices: CLOUDS }],
  },
  {
    kind: 'feature',
    collection: 'features',
    label: 'Turn a feature on or off',
    fields: [
      { name: 'feature', label: 'Feature', type: 'choice', choices: FEATURES },
      { name: 'enabled', label: 'State', type: 'choice', choices: ['on', 'off'] },
    ],
  },
  {
    kind: 'auto_ban',
    collection: 'auto-ban',
    label: 'Ban after detections',
    fields: [
      { name: 'threshold', label: 'Detections', type: 'number' },
      { name: 'ban_s', label: 'Ban for seconds', type: 'number' },
    ],
  },
];

/** The body of the request for what was typed into a form. */
export function body(kind: OperationKind, typed: Record<string, string>): Record<string, unknown> {
  const made: Record<string, unknown> = {};
  for (const { name, type } of kind.fields) {
    const text = (typed[name] ?? '').trim();
    if (!text) continue;
    if (name === 'enabled') made[name] = text === 'on';
    else made[name] = type === 'number' ? Number(text) : text;
  }
  return made;
}

export function collectionOf(kind: string): string {
  if (kind === 'emergency') return 'emergency';
  return KINDS.find((it) => it.kind === kind)?.collection ?? kind;
}

/** An operation in words. */
export function describe(entry: Entry): string {
  const text = (name: string) => String(entry[name] as string | number);
  const window = () =>
    `${count(Number(entry.requests))} requests in ${span(Number(entry.window_s))}`;
  switch (entry.kind) {
    case 'ban':
      return `Ban ${text('ip')}`;
    case 'unban':
      return `Allow ${text('ip')}`;
    case 'country':
      return `Block the country ${text('country')}`;
    case 'limit':
      return `Limit ${text('endpoint')} to ${window()}`;
    case 'rate_limit':
      return `Limit each client to ${window()}`;
    case 'user_agent':
      return `Block the user agent ${text('pattern')}`;
    case 'pattern':
      return `Detect ${text('pattern')} as an attack`;
    case 'cloud':
      return `Block the cloud ${text('cloud')}`;
    case 'feature':
      return `Turn ${text('feature').replaceAll('_', ' ')} ${entry.enabled ? 'on' : 'off'}`;
    case 'auto_ban':
      return `Ban after ${text('threshold')} detections${entry.ban_s ? ` for ${span(Number(entry.ban_s))}` : ''}`;
    case 'emergency':
      return `Emergency: let in only ${(entry.allowed as string[]).join(', ') || 'nobody'}`;
    default:
      return entry.kind;
  }
}
