/** The example app behind fastapi-guard, with the agent as its users install it. */
import { request } from 'node:http';
import { join } from 'node:path';
import { Process, PYTHON, ROOT, run } from './process';

/** guard-core's message when its check of a pattern got no processor time. The app then does not start. */
const STARVED = 'killable-subprocess timeout';

/** A value of a query that fastapi-guard detects. */
export const INJECTION = "' UNION SELECT password FROM users--";

export class App {
  private constructor(
    readonly url: string,
    readonly process: Process | null,
  ) {}

  /** An app that another process started. */
  static at(url: string): App {
    return new App(url, null);
  }

  /** Starts it with a key, reporting to a server. `home` is where the agent keeps its id. */
  static async start(server: string, key: string, home: string): Promise<App> {
    const folder = join(ROOT, 'examples/fastapi_app');
    const args = ['-m', 'uvicorn', 'main:app', '--app-dir', folder];
    const env = {
      HOME: home,
      GUARD_AGENT_ENDPOINT: server,
      GUARD_AGENT_API_KEY: key,
      GUARD_AGENT_FLUSH_INTERVAL: '1',
    };
    for (;;) {
      const program = {
        program: PYTHON,
        args: [...args, '--port', '0', '--no-proxy-headers'],
        env,
      };
      const child = Process.start(program);
      try {
        return new App(await child.says(/Uvicorn running on (http:\S+)/), child);
      } catch (error) {
        if (!child.output.includes(STARVED)) throw error;
      }
    }
  }

  /** Sends a request as a client, and returns the status of the answer. */
  async get(path: string, client: string, query: Record<string, string> = {}): Promise<number> {
    const url = new URL(path, this.url);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return new Promise((answered, failed) => {
      request(url, { headers: { 'X-Forwarded-For': client } }, (response) => {
        response.resume().on('end', () => answered(response.statusCode ?? 0));
      })
        .on('error', failed)
        .end();
    });
  }

  /** Tries an injection, which the guard blocks and reports. */
  attack(client: string): Promise<number> {
    return this.get('/search', client, { q: INJECTION });
  }

  async stop(): Promise<void> {
    await this.process?.stop();
  }
}

/** A record as the agent's models take it. */
export type Sent = Record<string, unknown>;

/** Sends records through the agent, from a process that then ends. */
export async function send(
  server: string,
  key: string,
  home: string,
  records: { events?: readonly Sent[]; metrics?: readonly Sent[] },
): Promise<void> {
  const { events = [], metrics = [] } = records;
  const config = { api_key: key, endpoint: server, max_buffered: 100_000 };
  const program = join(ROOT, 'tests/e2e/client.py');
  const task = JSON.stringify({ config, events, metrics });
  await run({ program: PYTHON, args: [program], env: { HOME: home } }, task);
}
