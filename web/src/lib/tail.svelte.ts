/** New events as they arrive. The rows are bounded, and a pause loses nothing. */
import { parse } from './hidden';
import { ApiError } from './api';
import { follow, type Frame } from './stream';
import type { Item } from './types';

/** The most rows that are kept; the oldest go. */
export const MAX_ROWS = 500;
/** The most events that wait during a pause. Then the stream is closed, and continued by `resume`. */
export const MAX_WAITING = 2000;
/** Rows are shown at most this often, however many events arrive. */
const SHOW_MS = 250;
/** How the server says that it cannot go on after a position. */
const NO_POSITION = ['expired_position', 'invalid_position'];
/** How long it waits before it connects again. */
const RETRY_MS = 2000;

export class Tail {
  items = $state.raw<Item[]>([]);
  /** How many events arrived since the pause. */
  waiting = $state(0);
  /** Whether more than `MAX_WAITING` arrived, so that the server keeps the rest. */
  full = $state(false);
  paused = $state(false);
  connected = $state(false);
  /** How many events the server left out because this browser was too slow. */
  missed = $state(0);
  /** Whether the server could not go on after the last event, so that it began at now. */
  broken = $state(false);
  /** Why the server refuses the stream. */
  error = $state('');

  #url = '';
  #running: AbortController | null = null;
  #arrived: Item[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The position of the last event that arrived. */
  #position = '';

  constructor(private readonly connect: typeof follow = follow) {}

  /** Begins at now. */
  open(url: string): void {
    this.close();
    this.items = [];
    this.#url = url;
    void this.#listen();
  }

  close(): void {
    this.#stop();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#arrived = [];
    this.#position = '';
    this.waiting = 0;
    this.missed = 0;
    this.broken = false;
    this.paused = false;
    this.full = false;
    this.error = '';
  }

  /** Keeps the rows as they are until `resume`. */
  pause(): void {
    this.paused = true;
  }

  /** Shows what arrived during the pause, and goes on from there. */
  resume(): void {
    this.paused = false;
    this.full = false;
    this.#show();
    if (!this.#running) void this.#listen();
  }

  #stop(): void {
    this.#running?.abort();
    this.#running = null;
    this.connected = false;
  }

  async #listen(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    while (!running.signal.aborted) {
      try {
        await this.connect(this.#url, this.#position, running.signal, {
          open: () => (this.connected = true),
          frame: (frame) => this.#take(frame),
        });
      } catch (error) {
        if (running.signal.aborted) return;
        if (error instanceof ApiError && NO_POSITION.includes(error.code) && this.#position) {
          this.#position = '';
          this.broken = true;
          continue;
        }
        if (error instanceof ApiError && !error.offline) {
          this.error = error.detail;
          this.#stop();
          return;
        }
      }
      this.connected = false;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #take({ event, id, data }: Frame): void {
    if (event === 'gap') this.missed += (parse(data) as { missed: number }).missed;
    if (event !== 'record') return;
    this.#arrived.push(parse(data) as Item);
    this.#position = id || this.#position;
    if (this.paused) {
      this.waiting = this.#arrived.length;
      this.full = this.waiting >= MAX_WAITING;
      if (this.full) this.#stop();
      return;
    }
    // Rows that would leave the table at once are not kept.
    if (this.#arrived.length > MAX_ROWS) this.#arrived = this.#arrived.slice(-MAX_ROWS);
    this.#timer ??= setTimeout(() => this.#show(), SHOW_MS);
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.paused) return;
    if (this.#arrived.length) {
      this.items = [...this.#arrived.reverse(), ...this.items].slice(0, MAX_ROWS);
    }
    this.#arrived = [];
    this.waiting = 0;
  }
}
