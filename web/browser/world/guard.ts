/** A real guard-server with its own data, and what the tests ask it directly. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Role } from '../../src/lib/types';
import { Process, ROOT, run } from './process';

const BINARY = process.env.GUARD_SERVER_BIN ?? join(ROOT, 'target/debug/guard-server');
/** Reads and changes everything, as the tests do beside the browser. */
const TOKEN = 'gt_browser_0123456789abcdef';
export const PASSWORD = 'correct horse battery';

export interface Options {
  /** The URL under which a proxy shows the server. */
  publicUrl?: string;
}

/** What another process needs to use the same server. */
export interface Known {
  url: string;
  folder: string;
}

export class Guard {
  readonly #process: Process | null;

  private constructor(
    readonly url: string,
    readonly folder: string,
    child: Process | null,
    /** Where browsers reach it: behind a proxy this is another URL. */
    readonly address = url,
  ) {
    this.#process = child;
  }

  static async start(options: Options = {}): Promise<Guard> {
    const folder = mkdtempSync(join(tmpdir(), 'guard-browser-'));
    return Guard.#begin(folder, '127.0.0.1:0', options);
  }

  static async #begin(folder: string, listen: string, { publicUrl }: Options): Promise<Guard> {
    const args = ['--listen', listen, '--data-dir', join(folder, 'data')];
    if (publicUrl) args.push('--public-url', publicUrl);
    const env = { GUARD_SERVER_ADMIN_TOKEN: TOKEN };
    const child = Process.start({ program: BINARY, args, env });
    const url = await child.says(/guard-server listening on (http:\S+)/);
    return new Guard(url, folder, child, publicUrl);
  }

  /** A server that another process started. */
  static at({ url, folder }: Known): Guard {
    return new Guard(url, folder, null);
  }

  /** The same data again, at the same address. */
  async restart(): Promise<Guard> {
    await this.#process?.stop();
    return Guard.#begin(this.folder, new URL(this.url).host, {});
  }

  /** Ends the server, and keeps its data. */
  async halt(): Promise<void> {
    await this.#process?.stop();
  }

  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The link that sets up the first admin, as the server printed it. */
  async link(): Promise<string> {
    if (!this.#process) throw new Error('another process started this server');
    return this.#process.says(/(http\S+\/setup\?token=\S+)/);
  }

  /** Calls the operator API with the token of an admin. */
  async api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}`, {
      method,
      headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text ? JSON.parse(text) : null) as T;
  }

  get<T>(path: string): Promise<T> {
    return this.api<T>('GET', path);
  }

  /** Makes a project unless there is one of this name, and returns a new key of it. */
  async key(project: string): Promise<string> {
    const { items } = await this.get<{ items: { name: string }[] }>('projects');
    if (!items.some(({ name }) => name === project)) {
      await this.api('POST', 'projects', { name: project });
    }
    const path = `projects/${project}/keys`;
    return (await this.api<{ key: string }>('POST', path, { label: 'tests' })).key;
  }

  /** Adds a person, with the password of all persons of the tests. */
  async addPerson(name: string, role: Role): Promise<void> {
    await this.api('POST', 'people', { name, role, projects: ['*'], password: PASSWORD });
  }

  /** Signs a person in, and returns the cookie. */
  async cookieOf(name: string): Promise<{ name: string; value: string; url: string }> {
    const response = await fetch(`${this.url}/api/v1/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name, password: PASSWORD }),
    });
    const value = /guard_session=([^;]+)/.exec(response.headers.get('set-cookie') ?? '')?.[1];
    if (!value) throw new Error(`${name} cannot sign in: ${response.status}`);
    return { name: 'guard_session', value, url: this.address };
  }

  /** Runs a command of guard-server on the data. */
  command(...args: string[]): Promise<string> {
    return run({ program: BINARY, args: ['--data-dir', join(this.folder, 'data'), ...args] });
  }

  /** The first column of the first row that the database has for a query. */
  count(sql: string, ...parameters: (string | number)[]): number {
    const database = new DatabaseSync(join(this.folder, 'data/guard.db'), { readOnly: true });
    try {
      return Number(Object.values(database.prepare(sql).get(...parameters) ?? {})[0]);
    } finally {
      database.close();
    }
  }
}
