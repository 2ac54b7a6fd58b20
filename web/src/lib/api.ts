/** The operator API: one function for each kind of request, and one error. */
import { connection } from './connection.svelte';
import { original, parse, write } from './hidden';
import type { Document } from './openapi';
import { basePath } from './router.svelte';

/** What the server says went wrong. `status` is 0 if it could not be reached. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly code = '',
    readonly field: string | null = null,
    readonly position: number | null = null,
  ) {
    super(detail);
  }

  /** The server does not answer: the data that is shown may be old. */
  get offline(): boolean {
    return this.isUnreachable || this.status === 503;
  }

  /** Nothing of the server answers; a proxy may say so. */
  get isUnreachable(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 504;
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

let onSignedOut: () => void = () => undefined;

/** Calls `listener` when the server no longer knows who is asking. */
export function whenSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

/** The URL of a call, below the base path. */
export function apiUrl(path: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value != null && value !== '') params.set(name, original(String(value)));
  }
  const text = params.toString();
  return `${basePath()}api/v1/${path}${text ? '?' + text : ''}`;
}

/** The part of a path that names a project. */
export function inProject(project: string, path = ''): string {
  return `projects/${encodeURIComponent(project)}${path && '/' + path}`;
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>('GET', path, query, undefined, signal);
}

/** The description of the API. */
export async function getDocument(signal: AbortSignal): Promise<Document> {
  const response = await request(`${basePath()}api/openapi.json`, { signal }, false);
  return (await response.json()) as Document;
}

export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>('POST', path, {}, body);
}

export function put<T>(path: string, body: unknown): Promise<T> {
  return call<T>('PUT', path, {}, body);
}

export function patch<T>(path: string, body: unknown): Promise<T> {
  return call<T>('PATCH', path, {}, body);
}

export function remove<T>(path: string, body?: unknown): Promise<T> {
  return call<T>('DELETE', path, {}, body);
}

async function call<T>(
  method: string,
  path: string,
  query: Query,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const response = await request(
    apiUrl(path, query),
    {
      method,
      headers,
      body: body === undefined ? null : write(body),
      signal: signal ?? null,
    },
    // A wrong password is answered by the form itself.
    path !== 'session',
  );
  return (response.status === 204 ? null : parse(await response.text())) as T;
}

/** Sends a request. Throws an `ApiError` if there is no answer, or one that is not a success. */
export async function request(
  url: string,
  init: RequestInit,
  leadsToSignIn = true,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin' });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    connection.lost();
    throw new ApiError(0, 'The server cannot be reached.');
  }
  if (response.ok) {
    connection.found();
    return response;
  }
  const failure = await readError(response);
  if (failure.isUnreachable) connection.lost();
  else connection.found();
  if (failure.status === 401 && leadsToSignIn) onSignedOut();
  throw failure;
}

async function readError(response: Response): Promise<ApiError> {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim() + '.';
  try {
    const body = parse(await response.text()) as Record<string, unknown>;
    const detail = typeof body.detail === 'string' ? body.detail : fallback;
    const code = typeof body.code === 'string' ? body.code : '';
    const field = typeof body.field === 'string' ? body.field : null;
    const position = typeof body.position === 'number' ? body.position : null;
    return new ApiError(response.status, detail, code, field, position);
  } catch {
    return new ApiError(response.status, fallback);
  }
}
