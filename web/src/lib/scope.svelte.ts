/** What the current page asks about: project, filter and range, as the address bar says. */
import { inProject } from './api';
import { zone } from './format';
import { readRange } from './range';
import { router } from './router.svelte';
import { withTerm } from './filter';

class Scope {
  project = $derived(router.route.project);
  filter = $derived(router.get('filter'));
  range = $derived(readRange(router.get('from'), router.get('to')));

  /** The parameters that calls with a filter and a range take. */
  query = $derived({
    filter: this.filter,
    from: this.range.from,
    to: this.range.to,
    tz: zone(),
  });

  path(path: string): string {
    return inProject(this.project, path);
  }

  /** Narrows the page to a value, or to everything but it. */
  narrow(field: string, value: string | null, exclude = false): void {
    router.set({ filter: withTerm(this.filter, field, value, exclude), event: null });
  }

  zoom(from: string, to: string): void {
    router.set({ from, to });
  }
}

export const scope = new Scope();
