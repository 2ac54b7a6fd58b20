/** Whether the emergency mode of the project is on. */
import { get } from './api';
import { Resource } from './resource.svelte';
import { scope } from './scope.svelte';
import type { Entry, InForce } from './types';

class Emergency extends Resource<InForce> {
  get entry(): Entry | undefined {
    return this.data?.items[0];
  }

  look(): void {
    const path = scope.path('rules/in-force');
    void this.load((signal) => get<InForce>(path, { kind: 'emergency', limit: 1 }, signal));
  }
}

export const emergency = new Emergency();
