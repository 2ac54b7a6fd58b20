/** Whether the page is being printed: paper does not scroll, and "3 min ago" means nothing on it. */
import { flushSync } from 'svelte';

class Paper {
  printing = $state(false);

  constructor() {
    // The browser lays the paper out right after these events.
    const set = (printing: boolean) => () => flushSync(() => (this.printing = printing));
    addEventListener('beforeprint', set(true));
    addEventListener('afterprint', set(false));
  }
}

export const paper = new Paper();
