/**
 * The address bar is the state: which page, of which project, with which filter, range and tab.
 * All links go through `href`, which adds the base path that the server wrote into `<base>`.
 */
import { SvelteURLSearchParams } from 'svelte/reactivity';

export type Params = Record<string, string | null | undefined>;

/** The longest query that every proxy lets through. A longer one is refused with a hint. */
export const MAX_QUERY = 4096;

/** The path of the dashboard, with a slash at its end. */
export function basePath(): string {
  return new URL('.', document.baseURI).pathname;
}

export interface Route {
  /** `overview`, `sign-in`, ...; empty at the root. */
  page: string;
  /** Empty on pages that belong to no project. */
  project: string;
  /** What follows the page, such as the address on the page of one address. */
  rest: string;
}

/** Reads a path below the base path: `p/PROJECT/PAGE/REST`, or `PAGE`. */
export function parse(path: string): Route {
  const [first = '', ...parts] = path.split('/').map(decode);
  if (first !== 'p') return { page: first, project: '', rest: parts.join('/') };
  const [project = '', page = 'overview', ...rest] = parts;
  return { page: page || 'overview', project, rest: rest.join('/') };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function current(): Route {
  return parse(location.pathname.slice(basePath().length));
}

class Router {
  route = $state.raw<Route>(current());
  /** The query. Components read it, and change it by `set`. */
  readonly params = new SvelteURLSearchParams(location.search);

  constructor() {
    addEventListener('popstate', () => this.#read());
  }

  /** Goes to a link made by `href`. */
  go(link: string, how: 'push' | 'replace' = 'push'): void {
    if (how === 'push') history.pushState(null, '', link);
    else history.replaceState(null, '', link);
    this.#read();
  }

  /** Changes parts of the query; null removes one. */
  set(changes: Params, how: 'push' | 'replace' = 'push'): void {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value == null || value === '') query.delete(name);
      else query.set(name, value);
    }
    if (query.toString() === new URLSearchParams(location.search).toString()) return;
    this.go(location.pathname + suffix(query), how);
  }

  get(name: string): string {
    return this.params.get(name) ?? '';
  }

  /** Takes over what the address bar says now. */
  #read(): void {
    const next = current();
    const { page, project, rest } = this.route;
    if (next.page !== page || next.project !== project || next.rest !== rest) this.route = next;
    const query = new URLSearchParams(location.search);
    for (const name of [...this.params.keys()]) if (!query.has(name)) this.params.delete(name);
    for (const [name, value] of query) {
      if (this.params.get(name) !== value) this.params.set(name, value);
    }
  }
}

export const router = new Router();

/** The query that stays when a person goes to another page of the same project. */
const KEPT = ['filter', 'from', 'to'];

/** The link to a page of the current project. Keeps filter and range, unless `params` says otherwise. */
export function href(page: string, params: Params = {}, rest = ''): string {
  const query = new URLSearchParams();
  for (const name of KEPT) {
    const value = name in params ? params[name] : router.params.get(name);
    if (value) query.set(name, value);
  }
  for (const [name, value] of Object.entries(params)) if (value) query.set(name, value);
  const project = encodeURIComponent(router.route.project);
  return `${basePath()}p/${project}/${page}${rest ? '/' + encodeURIComponent(rest) : ''}${suffix(query)}`;
}

/** The link to a page that belongs to no project, such as `sign-in`. */
export function outerHref(page: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) if (value) query.set(name, value);
  return basePath() + page + suffix(query);
}

/** The link to the overview of another project. */
export function projectHref(project: string): string {
  return `${basePath()}p/${encodeURIComponent(project)}/overview`;
}

function suffix(query: URLSearchParams): string {
  const text = query.toString();
  return text ? '?' + text : '';
}

/** Follows a plain click on a link of the dashboard without loading the page again. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest('a');
  if (!link || link.target || link.hasAttribute('download')) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !url.pathname.startsWith(basePath())) return;
  if (url.pathname.startsWith(basePath() + 'api/')) return;
  event.preventDefault();
  router.go(url.pathname + url.search);
  window.scrollTo(0, 0);
}
