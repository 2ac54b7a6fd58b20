/** Draws with uPlot. It styles by the CSSOM only, so a strict Content-Security-Policy holds. */
import uPlot from 'uplot';
import { fullTime } from '../lib/format';
import { cutBuckets, stack, type Drawing } from './data';

export interface Hover {
  index: number;
  /** The bucket in words. */
  when: string;
}

export interface Plot {
  drawing: Drawing;
  kind: 'bars' | 'lines';
  height: number;
  format: (value: number) => string;
  onzoom?: (from: string, to: string) => void;
  onhover: (hover: Hover | null) => void;
}

/** A selection narrower than this is a click, in pixels. */
const CLICK = 6;

/** Draws into an element, and again when its width changes. Returns a function that removes it. */
export function draw(element: HTMLElement, plot: Plot): () => void {
  const { drawing, kind, height } = plot;
  const values = kind === 'bars' ? stack(drawing.lines) : drawing.lines.map((line) => line.values);
  // The topmost part of a stack is drawn first, and those below it over it.
  const order = drawing.lines.map((_, at) =>
    kind === 'bars' ? drawing.lines.length - 1 - at : at,
  );
  const data = [drawing.times, ...order.map((at) => values[at] ?? [])] as uPlot.AlignedData;
  const chart = new uPlot(
    { ...options(element, plot, order), width: element.clientWidth || 300, height },
    data,
    element,
  );
  const observer = new ResizeObserver(() => {
    if (element.clientWidth) chart.setSize({ width: element.clientWidth, height });
  });
  observer.observe(element);
  return () => {
    observer.disconnect();
    chart.destroy();
  };
}

function options(
  element: HTMLElement,
  plot: Plot,
  order: number[],
): Omit<uPlot.Options, 'width' | 'height'> {
  const { drawing, kind, onzoom } = plot;
  const color = (token: string) => resolve(element, token);
  const bars = uPlot.paths.bars?.({ size: [0.86, 60], align: 1 });
  const last = drawing.times.at(-1) ?? 0;
  const first = drawing.times[0] ?? 0;
  return {
    legend: { show: false },
    // The right one has room for half of the last time.
    padding: [10, 16, 0, 0],
    cursor: {
      y: false,
      points: { show: kind === 'lines' },
      drag: { x: onzoom !== undefined, y: false, setScale: false },
    },
    scales: {
      x: { time: true, range: () => [first, last + (kind === 'bars' ? drawing.interval : 0)] },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] },
    },
    axes: axes(color, plot),
    series: [
      {},
      ...order.map((at) => {
        const stroke = color(drawing.lines[at]?.color ?? '--series-1');
        return kind === 'bars'
          ? { fill: stroke, width: 0, paths: bars, points: { show: false } }
          : {
              stroke,
              width: 1.5,
              spanGaps: false,
              points: { size: 4, fill: stroke, filter: alone },
            };
      }),
    ],
    hooks: {
      draw: [(chart) => fadeCut(chart, plot, color('--surface'))],
      setCursor: [(chart) => hovered(chart, plot)],
      setSelect: [(chart) => zoomed(chart, plot)],
    },
  };
}

/** The values between two gaps, which no line shows: they are drawn as points. */
function alone(chart: uPlot, series: number): number[] {
  const values = chart.data[series] ?? [];
  return [...values.keys()].filter(
    (at) => values[at] != null && values[at - 1] == null && values[at + 1] == null,
  );
}

function axes(color: (token: string) => string, { format }: Plot): uPlot.Axis[] {
  const font = '11px system-ui, sans-serif';
  const [line, faint] = [color('--line'), color('--faint')];
  return [
    {
      stroke: faint,
      font,
      size: 24,
      gap: 4,
      space: 90,
      grid: { show: false },
      ticks: { show: false },
      values: (_, splits, __, ___, step) => splits.map((at) => axisTime(at, step)),
    },
    {
      stroke: faint,
      font,
      size: 44,
      gap: 4,
      space: 40,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
      values: (_, splits) => splits.map((value) => (value ? format(value) : '')),
    },
  ];
}

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const seconds = new Intl.DateTimeFormat('en-GB', { minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/** A time on the axis. A day begins with its date. */
function axisTime(at: number, step: number): string {
  const text = clock.format(at * 1000);
  if (step >= 86400 || text === '00:00') return day.format(at * 1000);
  return step < 60 ? seconds.format(at * 1000) : text;
}

/** A token of the theme as a colour that a canvas takes. */
function resolve(element: HTMLElement, token: string): string {
  element.style.color = `var(${token})`;
  const { color } = getComputedStyle(element);
  element.style.removeProperty('color');
  return color;
}

/** Draws the buckets that the range cuts paler, so that they do not look like a drop. */
function fadeCut(chart: uPlot, { drawing, kind }: Plot, surface: string): void {
  if (kind !== 'bars') return;
  const { ctx } = chart;
  ctx.save();
  ctx.globalAlpha = 0.5;
  ctx.fillStyle = surface;
  for (const begin of cutBuckets(drawing)) {
    const left = chart.valToPos(begin, 'x', true);
    const right = chart.valToPos(begin + drawing.interval, 'x', true);
    ctx.fillRect(left, chart.bbox.top, right - left, chart.bbox.height);
  }
  ctx.restore();
}

function hovered(chart: uPlot, { drawing, kind, onhover }: Plot): void {
  const { left, idx } = chart.cursor;
  if (left == null || left < 0 || idx == null) return onhover(null);
  // A bar begins at its time, so the one under the pointer is not the nearest.
  const at = chart.posToVal(left, 'x');
  const under = kind === 'bars' ? drawing.times.findLastIndex((time) => time <= at) : idx;
  const begin = drawing.times[under];
  if (begin === undefined) return onhover(null);
  const iso = (seconds: number) => new Date(seconds * 1000).toISOString();
  const when = `${fullTime(iso(begin))} to ${fullTime(iso(begin + drawing.interval))}`;
  onhover({ index: under, when });
}

function zoomed(chart: uPlot, { drawing, onzoom }: Plot): void {
  const { left, width } = chart.select;
  if (!onzoom || width < CLICK) return;
  const begin = chart.posToVal(left, 'x');
  const end = chart.posToVal(left + width, 'x');
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  // Whole buckets, as they are drawn.
  const from = drawing.times.findLast((time) => time <= begin) ?? begin;
  const to = Math.max(end, from + drawing.interval);
  onzoom(new Date(from * 1000).toISOString(), new Date(Math.ceil(to) * 1000).toISOString());
}
