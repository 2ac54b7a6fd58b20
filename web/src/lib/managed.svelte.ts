/** A list that a form adds to: what is in it, the secret that was just made, and why a change failed. */
import { get } from './api';
import { tryChange, type Failure } from './attempt';
import { Resource } from './resource.svelte';
import type { Page } from './types';

export class Managed<T> extends Resource<Page<T>> {
  /** A secret that the server shows once; empty if none was made. */
  secret = $state('');
  failure = $state.raw<Failure | null>(null);

  open(path: string): void {
    void this.load((signal) => get<Page<T>>(path, {}, signal));
  }

  /** Changes the list, and loads it again: a refused change leaves it as it was. */
  async change(work: () => Promise<unknown>): Promise<void> {
    this.failure = await tryChange(work);
    await this.reload();
  }
}
