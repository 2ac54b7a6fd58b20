/** Data from the server with the four states of a page: loading, empty, failed, stale. */
import { ApiError } from './api';
import { connection } from './connection.svelte';

export class Resource<T> {
  data = $state.raw<T | null>(null);
  /** Why the last request failed. `data` keeps what was there before. */
  error = $state.raw<ApiError | null>(null);
  /** When `data` came, in milliseconds. */
  loadedAt = $state<number | null>(null);
  busy = $state(false);

  #fetch: ((signal: AbortSignal) => Promise<T>) | null = null;
  #running: AbortController | null = null;

  /** Loads from another source. What an earlier request returns later is ignored. */
  async load(fetch: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.#fetch = fetch;
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    this.busy = true;
    try {
      const data = await fetch(running.signal);
      if (running.signal.aborted) return;
      this.data = data;
      this.error = null;
      this.loadedAt = Date.now();
    } catch (error) {
      if (running.signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError(0, String(error));
      if (!this.error.offline) this.data = null;
      if (this.error.isUnreachable) connection.lost(this);
    }
    this.busy = false;
  }

  /** Loads the same again. */
  async reload(): Promise<void> {
    if (this.#fetch) await this.load(this.#fetch);
  }

  /** Forgets the data, so that the next load shows the skeleton. */
  clear(): void {
    this.#running?.abort();
    this.data = null;
    this.error = null;
    this.busy = false;
  }
}

/** Calls `task` at intervals while the page is visible. Returns a function that stops it. */
export function every(milliseconds: number, task: () => void): () => void {
  const timer = setInterval(() => {
    if (!document.hidden) task();
  }, milliseconds);
  const shown = () => {
    if (!document.hidden) task();
  };
  document.addEventListener('visibilitychange', shown);
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', shown);
  };
}
