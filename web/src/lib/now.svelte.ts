/** The time of day for relative times, renewed while the page is visible. */
import { every } from './resource.svelte';

class Now {
  value = $state(Date.now());

  constructor() {
    every(5000, () => {
      this.value = Date.now();
    });
  }
}

export const now = new Now();
