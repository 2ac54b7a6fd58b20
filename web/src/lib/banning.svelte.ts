/** The dialog that bans, allows or unbans: what it is about. */
import { get, post, remove } from './api';
import { term } from './filter';
import { scope } from './scope.svelte';
import type { Adoption, Top } from './types';

export type Doing = 'ban' | 'allow' | 'unban';

export interface Wanted {
  doing: Doing;
  addresses: string[];
  /** The entry that an unban takes back, if it is known. */
  entry?: string;
}

export const DURATIONS: readonly { seconds: number | null; label: string }[] = [
  { seconds: 900, label: '15 minutes' },
  { seconds: 3600, label: '1 hour' },
  { seconds: 6 * 3600, label: '6 hours' },
  { seconds: 24 * 3600, label: '24 hours' },
  { seconds: 7 * 86400, label: '7 days' },
  { seconds: 30 * 86400, label: '30 days' },
  { seconds: null, label: 'Until it is lifted' },
];

class Banning {
  wanted = $state.raw<Wanted | null>(null);
  /** Counts changes, so that pages know when to load bans again. */
  changes = $state(0);

  open(doing: Doing, addresses: string[], entry?: string | null): void {
    this.wanted = { doing, addresses, entry: entry ?? undefined };
  }

  /** Opens it for the addresses of a link, separated by commas. Returns whether there are any. */
  openLink(text: string): boolean {
    const addresses = text.split(',').filter(isAddress);
    if (addresses.length) this.open('ban', addresses);
    return addresses.length > 0;
  }

  close(): void {
    this.wanted = null;
  }

  /** Makes the change for one address or block. Returns the version of the rules that has it. */
  async make(
    doing: Doing,
    ip: string,
    note: { duration_s?: number; reason?: string; confirm?: boolean },
    entry?: string,
  ): Promise<number> {
    const { reason, confirm } = note;
    const { version } =
      doing === 'unban' && entry
        ? await remove<{ version: number }>(scope.path(`rules/bans/${entry}`), { reason, confirm })
        : await post<{ version: number }>(
            scope.path(doing === 'ban' ? 'rules/bans' : 'rules/unbans'),
            { ip, ...note },
          );
    this.changes++;
    return version;
  }
}

export const banning = new Banning();

/** How many of these addresses, and of the addresses in these blocks, sent events in the last seven days. */
export async function seenIn(blocks: readonly string[], signal: AbortSignal): Promise<Top> {
  const filter = blocks.map((block) => term('ip_address', block)).join(' OR ');
  const query = { by: 'ip_address', filter, from: '-7d', limit: 5 };
  return get<Top>(scope.path('events/top'), query, signal);
}

export function adoptionOf(version: number, signal: AbortSignal): Promise<Adoption> {
  return get<Adoption>(scope.path('rules/adoption'), { version }, signal);
}

/** Whether every process that is not silent has the version, or will not take it. */
export function isSettled({ counts }: Adoption): boolean {
  return counts.waiting + counts.fetched === 0;
}

/** Whether a text is an address that a ban can name. The server decides for good. */
export function isAddress(text: string | null | undefined): text is string {
  return /^[0-9a-fA-F:.]{3,45}(\/\d{1,3})?$/.test(text ?? '') && /[.:]/.test(text ?? '');
}
