/** The story of an address: from the first probe to what came after the ban. */
import { actionWords, tone } from './action';
import { utc } from './format';
import type { Address, Item } from './types';

export interface Step {
  at: string;
  /** What a line is: `first` marks the first sign of the address. */
  kind: 'first' | 'event' | 'ban' | 'rules' | 'after';
  title: string;
  text: string;
  /** How many events in a row it stands for, and when the last of them was. */
  count: number;
  until: string;
  action: string | null;
  id: string | null;
}

/** Events in a row that differ only in time are one step. */
export function story(address: Address, events: readonly Item[]): Step[] {
  const steps: Step[] = [];
  const oldestFirst = [...events].sort((a, b) =>
    a.event.timestamp.localeCompare(b.event.timestamp),
  );
  let banned = false;
  for (const { id, event } of oldestFirst) {
    const title = event.event_type;
    const request = [event.method, event.endpoint].filter(Boolean).join(' ');
    const text = [request, event.reason].filter(Boolean).join(': ');
    const last = steps.at(-1);
    const isBan = tone(event.action_taken) === 'banned';
    if (
      last &&
      last.title === title &&
      last.text === text &&
      last.action === (event.action_taken ?? null)
    ) {
      last.count++;
      last.until = event.timestamp;
      continue;
    }
    const kind = !steps.length ? 'first' : isBan ? 'ban' : banned ? 'after' : 'event';
    banned ||= isBan;
    steps.push({
      at: event.timestamp,
      kind,
      title,
      text,
      count: 1,
      until: event.timestamp,
      action: event.action_taken ?? null,
      id,
    });
  }
  for (const { at, action, author, reason, version } of address.bans.past) {
    const text = [author && `by ${author}`, reason].filter(Boolean).join(': ');
    steps.push({
      at,
      kind: 'rules',
      title: action,
      text: `${text} (rules v${version})`.trim(),
      count: 1,
      until: at,
      action: null,
      id: null,
    });
  }
  return steps.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

/** A text that Markdown shows as it is. */
function plain(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\`*_[\]<>|#]/g, '\\$&');
}

/** The story for an incident report. */
export function markdown(address: Address, steps: readonly Step[]): string {
  const lines = [
    `# ${plain(address.ip)}`,
    '',
    `- Events: ${address.total}`,
    `- First seen: ${address.first_seen ? utc(address.first_seen) : 'never'}`,
    `- Last seen: ${address.last_seen ? utc(address.last_seen) : 'never'}`,
    `- Bans in force: ${address.bans.active.length}`,
    '',
    '| time (UTC) | what | action | request and reason | times |',
    '|---|---|---|---|---|',
    ...steps.map(
      ({ at, title, action, text, count }) =>
        `| ${utc(at)} | ${plain(title)} | ${action ? plain(actionWords(action)) : ''} | ${plain(text)} | ${count} |`,
    ),
  ];
  return lines.join('\n') + '\n';
}
