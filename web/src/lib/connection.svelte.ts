/** Whether the server can be reached. While it cannot, this asks again, and then what failed is loaded again. */
import { basePath } from './router.svelte';

/** How long it waits before it asks again. */
const AGAIN_MS = 2000;

interface Reloadable {
  reload: () => Promise<void>;
}

class Connection {
  /** When the server was lost, in milliseconds; null while it answers. */
  lostAt = $state<number | null>(null);
  readonly #waiting = new Set<Reloadable>();

  /** A request got no answer. What is `waiting` loads again as soon as the server answers. */
  lost(waiting?: Reloadable): void {
    if (waiting) this.#waiting.add(waiting);
    if (this.lostAt !== null) return;
    this.lostAt = Date.now();
    this.#askLater();
  }

  /** A request got an answer. */
  found(): void {
    if (this.lostAt === null) return;
    this.lostAt = null;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resource of waiting) void resource.reload();
  }

  #askLater(): void {
    setTimeout(() => {
      if (this.lostAt === null) return;
      fetch(`${basePath()}health`).then(
        ({ ok }) => (ok ? this.found() : this.#askLater()),
        () => this.#askLater(),
      );
    }, AGAIN_MS);
  }
}

export const connection = new Connection();
