/** A story: the events of an address or of a correlation key, from the first sign to what came after a ban. */
import { actionWords, tone } from './action';
import { utc } from './format';
import type { GuardEvent, Item, PastBan } from './types';

export interface Step {
  at: string;
  /** What a line is: `first` marks the first sign. */
  kind: 'first' | 'event' | 'ban' | 'rules' | 'after';
  title: string;
  text: string;
  /** How many events it stands for, and when the last of them was. */
  count: number;
  until: string;
  action: string | null;
  address: string | null;
  id: string | null;
}

/** What a story is about, for its copy. */
export interface Subject {
  title: string;
  facts: readonly (readonly [name: string, value: string | number])[];
}

/** A longer silence, in milliseconds, begins another part of the story. */
const SILENCE_MS = 30 * 60_000;

/**
 * The steps in the order of time. Events that differ only in time are one step, until a ban, a change of the rules or a
 * silence begins another part: what came before and what came after are told apart.
 */
export function story(events: readonly Item[], changes: readonly PastBan[] = []): Step[] {
  const ordered = [...events.map(eventStep), ...changes.map(changeStep)].sort(
    (a, b) => Date.parse(a.at) - Date.parse(b.at),
  );
  const steps: Step[] = [];
  /** The steps of this part of the story, by what makes them alike. */
  const part = new Map<string, Step>();
  let banned = false;
  let lastAt = 0;
  for (const step of ordered) {
    const at = Date.parse(step.at);
    if (step.kind !== 'event' || at - lastAt > SILENCE_MS) part.clear();
    lastAt = at;
    const like = JSON.stringify([step.title, step.text, step.action, step.address]);
    const before = part.get(like);
    if (before) {
      before.count++;
      before.until = step.at;
      continue;
    }
    if (step.kind === 'event') {
      part.set(like, step);
      if (banned) step.kind = 'after';
      else if (!steps.length) step.kind = 'first';
    }
    banned ||= step.kind === 'ban';
    steps.push(step);
  }
  return steps;
}

function eventStep({ id, event }: Item): Step {
  const request = [event.method, event.endpoint].filter(Boolean).join(' ');
  return {
    at: event.timestamp,
    kind: tone(event.action_taken) === 'banned' ? 'ban' : 'event',
    title: event.event_type,
    text: [request, event.reason].filter(Boolean).join(': '),
    count: 1,
    until: event.timestamp,
    action: event.action_taken ?? null,
    address: event.ip_address ?? null,
    id,
  };
}

function changeStep({ at, action, author, reason, version }: PastBan): Step {
  const note = [author && `by ${author}`, reason].filter(Boolean).join(': ');
  return {
    at,
    kind: 'rules',
    title: action,
    text: `${note} (rules v${version})`.trim(),
    count: 1,
    until: at,
    action: null,
    address: null,
    id: null,
  };
}

/** Whether the steps are of several addresses, so that each has to name its own. */
export function hasSeveralAddresses(steps: readonly Step[]): boolean {
  return new Set(steps.map(({ address }) => address).filter(Boolean)).size > 1;
}

/** The correlation key of an event. */
export function correlationOf({ metadata }: GuardEvent): string | null {
  const key = metadata?.['guard.behavior.correlation_key'];
  return typeof key === 'string' && key ? key : null;
}

/** A text that Markdown shows as it is. */
function plain(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\`*_[\]<>|#]/g, '\\$&');
}

/** The story for an incident report. */
export function markdown({ title, facts }: Subject, steps: readonly Step[]): string {
  const several = hasSeveralAddresses(steps);
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const head = ['time (UTC)', 'what', 'action', 'request and reason', 'times', 'last (UTC)'];
  if (several) head.splice(1, 0, 'address');
  const lines = [
    `# ${plain(title)}`,
    '',
    ...facts.map(([name, value]) => `- ${name}: ${plain(String(value))}`),
    '',
    row(head),
    '|' + '---|'.repeat(head.length),
    ...steps.map((step) => {
      const action = step.action ? plain(actionWords(step.action)) : '';
      const [count, last] = [`${step.count}`, step.count > 1 ? utc(step.until) : ''];
      const cells = [utc(step.at), plain(step.title), action, plain(step.text), count, last];
      if (several) cells.splice(1, 0, plain(step.address ?? ''));
      return row(cells);
    }),
  ];
  return lines.join('\n') + '\n';
}
