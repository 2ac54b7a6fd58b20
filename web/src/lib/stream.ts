/**
 * Server-sent events over `fetch`. Unlike `EventSource` it can begin at a position after a pause,
 * and says why the server refused.
 */
import { request } from './api';

export interface Frame {
  event: string;
  /** Empty for frames that do not move the position. */
  id: string;
  data: string;
}

/** Cuts a stream of text into frames. */
export class FrameParser {
  #rest = '';

  feed(text: string): Frame[] {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    return blocks.map(readFrame).filter((frame) => frame.data !== '');
  }
}

function readFrame(block: string): Frame {
  const frame: Frame = { event: 'message', id: '', data: '' };
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    // A line that begins with a colon is a heartbeat.
    if (colon < 1) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event' || name === 'id') frame[name] = value;
    else if (name === 'data') frame.data += (frame.data && '\n') + value;
  }
  return frame;
}

/**
 * Follows a stream from `position` until the server or the signal ends it.
 * Throws an `ApiError` if the server refuses.
 */
export async function follow(
  url: string,
  position: string,
  signal: AbortSignal,
  on: { open: () => void; frame: (frame: Frame) => void },
): Promise<void> {
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (position) headers['Last-Event-ID'] = position;
  const response = await request(url, { headers, signal });
  on.open();
  const parser = new FrameParser();
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  while (reader) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const frame of parser.feed(value)) on.frame(frame);
  }
}
