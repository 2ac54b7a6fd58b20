/** A server with the fixtures, for the browser: the built dashboard, and the API as it is documented. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Project, Role } from '../src/lib/types';
import { apiDocument } from './api-document';
import * as data from './fixtures';

const DIST = join(import.meta.dirname, '../dist');
/** As guard-server sends it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
/** The parameters that each call of a project takes. guard-server refuses others. */
const PARAMETERS: Record<string, readonly string[]> = {
  overview: ['filter', 'from', 'to', 'tz', 'interval'],
  events: ['filter', 'from', 'to', 'limit', 'cursor'],
  'events/series': ['filter', 'from', 'to', 'tz', 'interval', 'by'],
  'events/top': ['filter', 'from', 'to', 'by', 'limit'],
  'metrics/series': ['metric', 'stat', 'by', 'filter', 'from', 'to', 'tz', 'interval'],
  addresses: ['filter', 'from', 'to', 'tz', 'interval'],
  passive: ['filter', 'from', 'to', 'tz'],
  losses: ['from', 'to', 'tz', 'interval'],
  'rules/versions': ['limit', 'before'],
  'rules/adoption': ['version'],
};
const TYPES: Record<string, string> = {
  js: 'text/javascript',
  css: 'text/css',
  svg: 'image/svg+xml',
};

export interface Request {
  method: string;
  path: string;
  body: Record<string, unknown>;
}

export class FakeServer {
  role: Role = 'admin';
  signedIn = true;
  /** Whether calls are answered 503. */
  isBusy = false;
  /** How many agents have applied the newest rules. */
  applied = 4;
  /** What changed something. */
  readonly changes: Request[] = [];
  readonly #server: Server;
  readonly #base: string;
  readonly #streams = new Set<ServerResponse>();
  #streamed = 0;

  private constructor(base: string) {
    this.#base = base;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async start(base = ''): Promise<FakeServer> {
    const server = new FakeServer(base);
    await new Promise<void>((listening) => server.#server.listen(0, '127.0.0.1', listening));
    return server;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}${this.#base}/`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** How many browsers follow the events. */
  get followers(): number {
    return this.#streams.size;
  }

  /** Sends this many new events to those who follow. */
  send(count: number): void {
    for (let sent = 0; sent < count; sent++) {
      const item = { ...data.item(this.#streamed, Date.now()), id: `t${++this.#streamed}` };
      const frame = `event: record\nid: c${this.#streamed}\ndata: ${JSON.stringify(item)}\n\n`;
      for (const stream of this.#streams) stream.write(frame);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const path = url.pathname.slice(this.#base.length);
    if (!url.pathname.startsWith(this.#base + '/')) return json(response, 404, {});
    if (path.startsWith('/api/v1/')) {
      let text = '';
      for await (const chunk of request) text += chunk;
      const body = (text ? JSON.parse(text) : {}) as Record<string, unknown>;
      return this.#call(request.method ?? 'GET', path.slice(8), url.searchParams, body, response);
    }
    if (path === '/api/openapi.json') return json(response, 200, apiDocument);
    const file = join(DIST, path);
    const type = TYPES[path.split('.').at(-1) ?? ''];
    if (type && existsSync(file)) {
      response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
      return;
    }
    const page = readFileSync(join(DIST, 'index.html'), 'utf8');
    response.writeHead(200, { 'content-type': 'text/html', 'content-security-policy': POLICY });
    response.end(page.replace('<base href="/"', `<base href="${this.#base}/"`));
  }

  #call(
    method: string,
    path: string,
    query: URLSearchParams,
    body: Record<string, unknown>,
    response: ServerResponse,
  ): void {
    if (method !== 'GET') this.changes.push({ method, path, body });
    if (path === 'session' && method === 'POST') {
      const isRight = body.password === 'correct horse battery';
      this.signedIn = isRight;
      if (isRight) return json(response, 200, {});
      return refuse(response, 401, 'wrong_password', 'Name or password is wrong');
    }
    if (path === 'setup' && method === 'GET')
      return json(response, 200, { valid: true, name: null });
    if (!this.signedIn) return refuse(response, 401, 'signed_out', 'Sign in');
    if (path === 'session' && method === 'DELETE') this.signedIn = false;
    if (path === 'session') {
      return json(response, 200, { name: 'anna', role: this.role, projects: ['*'] });
    }
    if (this.isBusy) return refuse(response, 503, 'busy', 'The server is busy; try again later');
    if (query.get('filter')?.includes('endpiont')) {
      return refuse(response, 400, 'invalid_filter', 'no field endpiont; did you mean endpoint?');
    }
    if (method !== 'GET') return this.#change(path, body, response);
    const inProject = /^projects\/shop\/(.*)$/.exec(path)?.[1];
    if (inProject === 'events/tail') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n');
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
      return;
    }
    const known = PARAMETERS[inProject ?? ''] ?? PARAMETERS[inProject?.split('/')[0] ?? ''] ?? [];
    const unknown = [...query.keys()].find((name) => !known.includes(name));
    if (unknown && inProject !== undefined) {
      return refuse(response, 400, 'unknown_parameter', `${path} has no parameter ${unknown}`);
    }
    const found = inProject === undefined ? this.#outer(path) : this.#inner(inProject, query);
    return found === undefined
      ? refuse(response, 404, 'not_found', 'No such path')
      : json(response, 200, found);
  }

  #change(path: string, body: Record<string, unknown>, response: ServerResponse): void {
    if (path.endsWith('rules/bans') && body.ip === '0.0.0.0/0' && !body.confirm) {
      return refuse(response, 409, 'confirm', 'this would ban your own address');
    }
    const made = { version: 19, id: 'x', key: 'fg_made', token: 'gt_made', link: 'http://x/setup' };
    return json(response, 200, made);
  }

  #outer(path: string): unknown {
    if (path === 'projects') return { items: [{ name: 'shop' }, { name: 'other' }], next: null };
    if (path === 'projects/shop') {
      return {
        name: 'shop',
        settings: {
          retention_days: 90,
          retention_bytes: 5e9,
          raw_metrics_hours: 24,
          require_encryption: false,
          require_signature: true,
          ip_allowlist: ['10.0.0.0/8'],
          quota_per_minute: null,
        },
        secrets: { encryption_key: false, signing_secret: true },
        refused: { unsigned: 0 },
        storage: { bytes: 3.2e9, bytes_per_day: 4.1e7, days_left: 43 },
      } satisfies Project;
    }
    return data.SETTINGS[path];
  }

  #inner(path: string, query: URLSearchParams): unknown {
    const [first, second, third] = path.split('/').map(decodeURIComponent);
    switch (first) {
      case 'overview':
        return data.overview();
      case 'events':
        return this.#events(second, query);
      case 'metrics':
        return data.metric(query.get('stat') ?? '');
      case 'addresses':
        return data.address(second ?? '');
      case 'passive':
        return data.passive();
      case 'agents':
        return data.agents();
      case 'losses':
        return data.losses();
      case 'views':
        return { items: [], next: null };
      case 'rules':
        return this.#rules(second, third);
      default:
        return data.SETTINGS[first ?? ''];
    }
  }

  #events(part: string | undefined, query: URLSearchParams): unknown {
    if (part === 'series') return query.get('interval') === '60' ? data.minutes() : data.series();
    if (part === 'top') return data.TOPS[query.get('by') ?? ''];
    if (part !== undefined) {
      const item = data.ITEMS.find(({ id }) => id === part) ?? data.ITEMS[0];
      const near = data.ITEMS.slice(1, 9);
      return { ...item, neighbours: { address: near, correlation: [], minute: near } };
    }
    if (query.get('filter') === 'nothing') return { items: [], next: null };
    const begin = Number(query.get('cursor') ?? 0);
    const end = begin + Number(query.get('limit') ?? 50);
    const next = end < data.ITEMS.length ? String(end) : null;
    return { items: data.ITEMS.slice(begin, end), next };
  }

  #rules(part: string | undefined, id: string | undefined): unknown {
    const document = { rule_id: 'default-rule', ttl: 300, blocked_countries: ['KP'] };
    switch (part) {
      case 'entries':
        return data.entries();
      case 'adoption':
        return data.adoption(this.applied);
      case 'versions':
        return id
          ? data.version(Number(id))
          : { versions: [18, 17, 16].map(data.version), next_before: null };
      case 'published':
        return { document };
      case 'draft':
        return id === 'diff'
          ? { changes: [{ field: 'ttl', published: 300, draft: 60 }] }
          : { document: { ...document, ttl: 60 } };
      default:
        return undefined;
    }
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, status: number, code: string, detail: string): void {
  json(response, status, { detail, code, field: null });
}
