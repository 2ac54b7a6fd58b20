/** The keyboard: single keys, and two keys after each other such as `g o`. */

export interface Shortcut {
  keys: string;
  /** What it does, for the list that `?` shows. */
  does: string;
  run: () => void;
}

const STORED = 'guard.shortcuts';
/** The time in which the second key of a pair must follow. */
const PAIR_MS = 1200;

export function shortcutsEnabled(): boolean {
  return localStorage.getItem(STORED) !== 'off';
}

export function enableShortcuts(on: boolean): void {
  if (on) localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, 'off');
}

/** Whether a key belongs to an input method, which composes a text. Some browsers tell it by the code alone. */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}

/** Whether a key is meant for the element that has the focus, or for the browser. */
export function isForSomethingElse(event: KeyboardEvent): boolean {
  if (isComposing(event)) return true;
  if (event.ctrlKey || event.altKey || event.metaKey) return true;
  const target = event.target;
  if (!(target instanceof Element)) return false;
  if (target.closest('dialog')) return true;
  return target.closest('input, textarea, select, [contenteditable]') !== null;
}

/** Listens for shortcuts. Returns a function that stops it. */
export function listen(shortcuts: () => readonly Shortcut[]): () => void {
  let first = '';
  let firstAt = 0;
  const onKey = (event: KeyboardEvent) => {
    if (!shortcutsEnabled() || isForSomethingElse(event)) return;
    const pair = event.timeStamp - firstAt < PAIR_MS && first ? `${first} ${event.key}` : '';
    const all = shortcuts();
    const found =
      all.find(({ keys }) => keys === pair) ?? all.find(({ keys }) => keys === event.key);
    const begins = all.some(({ keys }) => keys.startsWith(event.key + ' '));
    first = begins && !found ? event.key : '';
    firstAt = event.timeStamp;
    if (!found) return;
    event.preventDefault();
    found.run();
  };
  addEventListener('keydown', onKey);
  return () => removeEventListener('keydown', onKey);
}

/** Moves the focus to the next or previous row of the page. */
export function moveRow(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('main [data-row]')];
  const current = document.activeElement?.closest('[data-row]');
  const at = rows.findIndex((row) => row === current);
  // Without a row to begin at, it is the first one on the screen.
  const first = () => rows.find((row) => row.getBoundingClientRect().top >= 0) ?? rows[0];
  const next = at < 0 ? first() : rows[Math.min(rows.length - 1, Math.max(0, at + step))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

/** Presses a control of the row that has the focus, such as its ban button. */
export function pressInRow(name: string): void {
  const row = document.activeElement?.closest('[data-row]');
  const inRow = row?.querySelector<HTMLElement>(`[data-do="${name}"]`);
  (inRow ?? document.querySelector<HTMLElement>(`main [data-page-do="${name}"]`))?.click();
}
