// One chart of a training: the drawing, its colours from the theme, and its size from the page.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { marks, type Boundary, type Curve, type Line } from "./curve";
import { find, text } from "./page";

export interface Look {
  lines: Line[];
  write(value: number): string;
  range(lowest: number, highest: number): [number, number];
}

const FADED = 0.14;
const MARK_WIDTH = 64;
// More of them would hide the line that they stand on.
const MOST_DOTS = 40;
const redrawn = new Set<() => void>();

export function colour(name: string, share = 1): string {
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--color-${name}`).trim();
  return share === 1 ? value : value.replace(")", ` / ${share})`);
}

// A theme changes by our button or by the system.
new MutationObserver(redrawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);

function redrawAll(): void {
  for (const redraw of redrawn) redraw();
}

export class Chart {
  private plot: uPlot | null = null;

  constructor(
    private readonly element: HTMLElement,
    private readonly curve: Curve,
    private readonly look: Look,
    private readonly read: HTMLElement | null,
  ) {
    redrawn.add(() => this.plot?.redraw());
    new ResizeObserver(() => this.fit()).observe(element);
  }

  draw(): void {
    const columns = this.curve.columns(this.look.lines) as uPlot.AlignedData;
    this.element.dataset.points = String(columns[0].length);
    if (this.plot) this.plot.setData(columns);
    else if (this.element.clientWidth) this.plot = new uPlot(this.options(), columns, this.element);
  }

  private fit(): void {
    if (this.plot) this.plot.setSize(this.size());
    else if (!this.curve.isEmpty) this.draw();
  }

  private size(): { width: number; height: number } {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  private options(): uPlot.Options {
    return {
      ...this.size(),
      legend: { show: false },
      padding: [16, 24, 0, 0],
      cursor: { sync: { key: "training" }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (_, lowest, highest) => this.look.range(lowest ?? 0, highest ?? 1) } },
      axes: [this.axis({ values: (_, steps) => steps.map((step) => this.markWords(step)), splits: (plot, _, first, last) => this.marks(plot, first, last), size: 32 }), this.axis({ size: 60, values: (_, values) => values.map(this.look.write) })],
      series: [{}, ...this.look.lines.map(serie), lostSerie()],
      hooks: { draw: [(plot) => drawBoundaries(plot, this.curve.boundaries)], setCursor: [(plot) => this.tell(plot)] },
    };
  }

  private axis(more: uPlot.Axis): uPlot.Axis {
    const grid = { stroke: () => colour("base-content", FADED), width: 1 };
    return { stroke: () => colour("base-content", 0.75), font: "11px system-ui, sans-serif", grid, ticks: { ...grid, size: 4 }, ...more };
  }

  private marks(plot: uPlot, first: number, last: number): number[] {
    return marks(first, last, this.curve.stepsPerEpoch, Math.max(1, Math.floor(plot.bbox.width / devicePixelRatio / MARK_WIDTH)));
  }

  private markWords(step: number): string {
    const epoch = step / this.curve.stepsPerEpoch;
    return isWhole(epoch) ? text("epoch", { number: Math.round(epoch) }) : text("step", { number: step });
  }

  // What stands under the pointer, beside the chart's name.
  private tell(plot: uPlot): void {
    const at = plot.cursor.idx;
    if (!this.read) return;
    if (at == null) this.read.textContent = "";
    else {
      const values = this.look.lines.map((_, index) => nearest(plot.data[index + 1], at)).filter((value) => value != null);
      this.read.textContent = `${text("step", { number: Math.round(plot.data[0][at]) })}: ${values.map((value) => this.look.write(value!)).join(" / ")}`;
    }
  }
}

// The value at a place, or the last one before it: lines have their values at different steps.
function nearest(values: ArrayLike<number | null | undefined>, at: number): number | null {
  for (; at >= 0; at--) if (values[at] != null) return values[at]!;
  return null;
}

function isWhole(number: number): boolean {
  return Math.abs(number - Math.round(number)) < 0.01;
}

function serie(line: Line): uPlot.Series {
  const isValidation = line.startsWith("validation");
  const name = isValidation ? "accent" : "primary";
  const isSparse = (plot: uPlot, index: number) => Array.from(plot.data[index] as ArrayLike<number | null | undefined>).filter((value) => value != null).length <= MOST_DOTS;
  const points = isValidation ? { show: isSparse, size: 6, fill: () => colour(name), stroke: () => colour(name) } : { show: false };
  return { stroke: () => colour(name), width: 2, dash: isValidation ? [5, 3] : undefined, points };
}

function lostSerie(): uPlot.Series {
  return { stroke: () => colour("base-content", 0.6), width: 1.5, dash: [1, 3], points: { show: false } };
}

// Where an attempt ended and another one went on.
function drawBoundaries(plot: uPlot, boundaries: Boundary[]): void {
  const { left, top, width, height } = plot.bbox;
  const pen = plot.ctx;
  pen.save();
  pen.strokeStyle = pen.fillStyle = colour("warning");
  pen.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  pen.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const { step, attempt } of boundaries) {
    const x = Math.round(plot.valToPos(step, "x", true));
    const isLate = x > left + width * 0.8;
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
    pen.stroke();
    pen.textAlign = isLate ? "right" : "center";
    pen.fillText(text("attempt", { number: attempt }), x, top - 4 * devicePixelRatio);
  }
  pen.restore();
}

export function chartIn(within: ParentNode, curve: Curve, name: string, look: Look): Chart {
  return new Chart(find(`[data-chart="${name}"]`, within), curve, look, within.querySelector<HTMLElement>(`[data-at="${name}"]`));
}
