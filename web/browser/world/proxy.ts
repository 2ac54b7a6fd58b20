/** nginx in front of a server, which shows it below a path. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Process } from './process';

export class Proxy {
  readonly url: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'guard-proxy-'));
  #process: Process | null = null;

  private constructor(
    private readonly port: number,
    private readonly base: string,
  ) {
    this.url = `http://127.0.0.1:${port}${base}`;
  }

  /** Chooses a free port, so that the server can be told its URL before it starts. */
  static async reserve(base: string): Promise<Proxy> {
    const listener = createServer();
    await new Promise<void>((listening) => listener.listen(0, '127.0.0.1', listening));
    const { port } = listener.address() as AddressInfo;
    await new Promise((closed) => listener.close(closed));
    return new Proxy(port, base);
  }

  async start(server: string): Promise<void> {
    const file = join(this.#folder, 'nginx.conf');
    writeFileSync(file, this.#config(server));
    const args = ['-c', file, '-e', 'stderr', '-p', this.#folder];
    this.#process = Process.start({ program: process.env.NGINX ?? '/usr/sbin/nginx', args });
    await this.#process.says(/start worker process/);
  }

  async stop(): Promise<void> {
    await this.#process?.stop('SIGQUIT');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** As an operator would write it: nothing but the address of the server. */
  #config(server: string): string {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    return `
      daemon off; master_process on; worker_processes 1;
      pid ${this.#folder}/nginx.pid; error_log stderr notice;
      ${process.getuid?.() === 0 ? 'user root;' : ''}
      events {}
      http {
        access_log off;
        ${temporary.map((name) => `${name}_temp_path ${this.#folder}/${name};`).join('\n')}
        server {
          listen 127.0.0.1:${this.port};
          location ${this.base}/ {
            proxy_pass ${server};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
          }
        }
      }`;
  }
}
