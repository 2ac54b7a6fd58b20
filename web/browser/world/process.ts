/** Child processes of the tests: a server, an app, a proxy. They end with the tests. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../../..');
/** The Python that has the agent's package. */
export const PYTHON = join(ROOT, '.build/venv/bin/python');

export interface Command {
  program: string;
  args: readonly string[];
  env?: Record<string, string>;
}

export class Process {
  #output = '';
  #waiting: (() => void)[] = [];

  private constructor(readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        this.#wake();
      });
    }
    child.on('close', () => this.#wake());
  }

  static start({ program, args, env = {} }: Command): Process {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    return new Process(
      spawn(program, args, { env: { ...process.env, ...env }, stdio: [...stdio] }),
    );
  }

  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Waits until the output matches, and returns the first group. Throws if the process ends before. */
  async says(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.#output);
      if (found) return found[1] ?? '';
      if (this.ended) throw new Error(`${this.child.spawnfile} ended: ${this.#output}`);
      await new Promise<void>((woken) => this.#waiting.push(woken));
    }
  }

  /** Ends it as an operator would, and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.ended) return;
    const end = once(this.child, 'close');
    this.child.kill(signal);
    await end;
  }

  #wake(): void {
    for (const woken of this.#waiting.splice(0)) woken();
  }
}

/** Runs a program to its end with a text as input. Throws with its output if it fails. */
export async function run({ program, args, env = {} }: Command, input = ''): Promise<string> {
  const child = spawn(program, args, { env: { ...process.env, ...env } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${output}`);
  return output;
}
