/**
 * Which rows of a long table are near the screen. Only these are in the document; spaces above and below keep the
 * place of the others. All rows have the same height.
 */
import { untrack } from 'svelte';
import { paper } from './paper.svelte';

/** So few rows are all shown: they cost little, and the browser's search finds them. */
const WHOLE = 100;
/** So many rows above and below the screen are shown as well. The span moves in steps of so many. */
const BEYOND = 8;

export interface Span {
  first: number;
  /** After the last row. */
  end: number;
}

/** The rows near the screen, if the first of all rows is at `top` and each has this height, in pixels. */
export function near(top: number, height: number, screen: number): Span {
  const row = (y: number) => Math.floor(y / height / BEYOND) * BEYOND;
  return {
    first: Math.max(0, row(-top) - BEYOND),
    end: Math.max(0, row(screen - top)) + 2 * BEYOND,
  };
}

export class Rows {
  /** In pixels; 0 until a row was shown. */
  height = $state(0);
  #near = $state.raw<Span>({ first: 0, end: WHOLE });
  readonly #isLong = $derived.by(() => this.count() > WHOLE);

  constructor(private readonly count: () => number) {}

  /** The rows that are in the document. */
  get span(): Span {
    const count = this.count();
    if (!this.#isLong || paper.printing) return { first: 0, end: count };
    const { first, end } = this.#near;
    return { first: Math.min(first, count), end: Math.min(end, count) };
  }

  /** Follows the scrolling of the page. For the element that has the rows. */
  readonly follow = (body: HTMLElement): (() => void) | undefined => {
    if (!this.#isLong) return;
    const look = () => {
      this.height = body.querySelector('[data-row]')?.getBoundingClientRect().height ?? this.height;
      const { top } = body.getBoundingClientRect();
      const { first, end } = near(top, this.height || 32, innerHeight);
      if (first !== this.#near.first || end !== this.#near.end) this.#near = { first, end };
    };
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    untrack(look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  };
}
