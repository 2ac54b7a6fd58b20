import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { enableShortcuts, listen, moveRow } from './keys';

const goOverview = vi.fn();
const ban = vi.fn();
let stop = () => {};

beforeEach(() => {
  vi.clearAllMocks();
  enableShortcuts(true);
  stop = listen(() => [
    { keys: 'g o', does: 'go to Overview', run: goOverview },
    { keys: 'b', does: 'ban', run: ban },
  ]);
});
afterEach(() => stop());

function press(key: string, init: KeyboardEventInit = {}, target: EventTarget = document.body) {
  target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...init }));
}

describe('shortcuts', () => {
  it('run for a key, and for two keys after each other', () => {
    press('b');
    press('g');
    press('o');
    press('o');
    expect(ban).toHaveBeenCalledTimes(1);
    expect(goOverview).toHaveBeenCalledTimes(1);
  });

  it('are ignored in fields, in dialogs, while composing and with a modifier', () => {
    document.body.innerHTML = '<input><dialog><button></button></dialog>';
    press('b', {}, document.querySelector('input') ?? document);
    press('b', {}, document.querySelector('dialog button') ?? document);
    press('b', { isComposing: true });
    press('b', { keyCode: 229 });
    press('b', { ctrlKey: true });
    press('b', { altKey: true });
    press('b', { metaKey: true });
    expect(ban).not.toHaveBeenCalled();
  });

  it('can be switched off', () => {
    enableShortcuts(false);
    press('b');
    expect(ban).not.toHaveBeenCalled();
  });
});

describe('rows', () => {
  it('take the focus one after the other, and keep it at the ends', () => {
    Element.prototype.scrollIntoView = () => undefined;
    document.body.innerHTML =
      '<main><p data-row tabindex="-1">1</p><p data-row tabindex="-1">2</p></main>';
    const focused = () => document.activeElement?.textContent;
    moveRow(1);
    expect(focused()).toBe('1');
    moveRow(1);
    moveRow(1);
    expect(focused()).toBe('2');
    moveRow(-1);
    expect(focused()).toBe('1');
  });
});
