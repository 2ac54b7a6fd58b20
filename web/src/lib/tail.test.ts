import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiError } from './api';
import { FrameParser, type Frame } from './stream';
import { MAX_ROWS, MAX_WAITING, Tail } from './tail.svelte';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('frames', () => {
  it('are read from pieces that are cut anywhere', () => {
    const text =
      ': heartbeat\n\nevent: record\nid: c1\ndata: {"a":1}\n\nevent: gap\ndata: {"missed":2}\n\n';
    for (let at = 0; at < text.length; at++) {
      const parser = new FrameParser();
      const frames = [...parser.feed(text.slice(0, at)), ...parser.feed(text.slice(at))];
      expect(frames).toEqual([
        { event: 'record', id: 'c1', data: '{"a":1}' },
        { event: 'gap', id: '', data: '{"missed":2}' },
      ]);
    }
  });
});

/** A tail whose stream the test feeds. */
function tailed() {
  const positions: string[] = [];
  let send: (frame: Frame) => void = () => undefined;
  const tail = new Tail((_, position, signal, on) => {
    positions.push(position);
    on.open();
    send = on.frame;
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error())));
  });
  tail.open('/tail');
  let sent = 0;
  const record = (times: number) => {
    for (let at = 0; at < times; at++) {
      const id = String(++sent);
      send({ event: 'record', id, data: JSON.stringify({ id }) });
    }
    vi.advanceTimersByTime(1000);
  };
  return { tail, positions, record, send: (frame: Frame) => send(frame) };
}

describe('the tail', () => {
  it('shows the newest first, and keeps a bounded number of rows', () => {
    const { tail, record } = tailed();
    record(3);
    expect(tail.items.map(({ id }) => id)).toEqual(['3', '2', '1']);
    record(MAX_ROWS * 3);
    expect(tail.items.length).toBe(MAX_ROWS);
    expect(tail.items[0]?.id).toBe(String(MAX_ROWS * 3 + 3));
  });

  it('loses nothing in a pause', () => {
    const { tail, record } = tailed();
    tail.pause();
    record(37);
    expect(tail.waiting).toBe(37);
    expect(tail.items).toEqual([]);
    tail.resume();
    expect(tail.items.length).toBe(37);
    expect(tail.waiting).toBe(0);
  });

  it('leaves the stream in a long pause, and goes on where it left', () => {
    const { tail, positions, record } = tailed();
    tail.pause();
    record(MAX_WAITING + 10);
    expect(tail.full).toBe(true);
    expect(tail.connected).toBe(false);
    tail.resume();
    expect(positions.length).toBe(2);
    // The last one that it took, so the ten after it come again.
    expect(Number(positions[1])).toBeGreaterThanOrEqual(MAX_WAITING);
    expect(tail.connected).toBe(true);
  });

  it('says how many events it could not show', () => {
    const { tail, send } = tailed();
    send({ event: 'gap', id: '', data: '{"missed":5}' });
    expect(tail.missed).toBe(5);
  });

  it('starts over and says so when the server cannot resume at its position', async () => {
    const positions: string[] = [];
    const tail = new Tail((_, position, signal, on) => {
      positions.push(position);
      if (positions.length === 2) {
        return Promise.reject(new ApiError(400, 'gone', 'expired_position', 'Last-Event-ID'));
      }
      on.open();
      if (positions.length === 1) {
        on.frame({ event: 'record', id: 'c1', data: '{"id":"1"}' });
        return Promise.resolve();
      }
      return new Promise((_, reject) => signal.addEventListener('abort', reject));
    });
    tail.open('/tail');
    await vi.advanceTimersByTimeAsync(5000);
    expect(positions).toEqual(['', 'c1', '']);
    expect(tail.broken).toBe(true);
    expect(tail.error).toBe('');
  });
});
