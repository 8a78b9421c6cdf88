// The figures that a training tells, put together to curves: each attempt goes on from a checkpoint, so it tells some steps again.
import type { Told } from "./live";

export const LINES = ["loss", "validation_loss", "accuracy", "validation_accuracy", "learning_rate", "images_per_second"] as const;
export type Line = (typeof LINES)[number];

export interface Point {
  step: number;
  epoch: number;
  attempt: number;
  values: { [line in Line]?: number };
}

export interface Boundary {
  step: number;
  attempt: number;
}

// Where a chart from one step to another has its marks: at whole epochs once there are two of them, before that at steps.
export function marks(first: number, last: number, stepsPerEpoch: number, most: number): number[] {
  const unit = stepsPerEpoch && (last - first) / stepsPerEpoch >= 2 ? stepsPerEpoch : 1;
  const apart = unit * roundUp((last - first) / unit / most);
  const found: number[] = [];
  for (let number = Math.ceil(first / apart); number * apart <= last; number++) found.push(number * apart);
  return found;
}

// The next number of one digit and zeros, so that even a narrow chart has more than one mark.
function roundUp(number: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, number)));
  return power * [1, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= number)!;
}

export class Curve {
  private points: Point[] = [];
  private starts: Boundary[] = [];
  stepsPerEpoch = 0;

  add(told: Told): void {
    const { step, epoch, values } = told.body as { step: number; epoch: number; values: Point["values"] };
    if (told.attempt !== this.starts.at(-1)?.attempt) this.starts.push({ step, attempt: told.attempt });
    if (epoch > 0) this.stepsPerEpoch = step / epoch;
    this.points.push({ step, epoch, attempt: told.attempt, values });
  }

  clear(): void {
    this.points = [];
    this.starts = [];
  }

  get isEmpty(): boolean {
    return this.points.length === 0;
  }

  get last(): Point | undefined {
    return this.points.at(-1);
  }

  // Where a later attempt went on.
  get boundaries(): Boundary[] {
    return this.starts.slice(1);
  }

  latest(line: Line): number | undefined {
    for (let at = this.points.length - 1; at >= 0; at--) {
      const value = this.points[at].values[line];
      if (value !== undefined) return value;
    }
    return undefined;
  }

  // What counts, and what a later attempt has told anew.
  private split(): { kept: Point[]; lost: Point[] } {
    const kept: Point[] = [];
    const lost: Point[] = [];
    for (const point of this.points) {
      const isAgain = this.starts.some((start) => start.attempt > point.attempt && point.step >= start.step);
      (isAgain ? lost : kept).push(point);
    }
    return { kept, lost };
  }

  get hasLost(): boolean {
    return this.split().lost.length > 0;
  }

  // Columns for a chart: the steps, each line, and the lost part of the first line. A `null` is a gap in the line, where
  // another attempt went on; an `undefined` only means that this line has no value at this step.
  columns(lines: Line[]): [number[], ...(number | null | undefined)[][]] {
    const { kept, lost } = this.split();
    const of = (points: Point[]) => points.filter((point) => lines.some((line) => point.values[line] !== undefined));
    // Just before an attempt's first point, so that the gap stands between the two.
    const gaps = this.boundaries.map((start) => start.step - 1e-6);
    const steps = [...new Set([...of(kept), ...of(lost)].map((point) => point.step).concat(gaps))].sort((a, b) => a - b);
    const at = new Map(steps.map((step, index) => [step, index]));
    const column = (points: Point[], line: Line) => {
      const values: (number | null | undefined)[] = new Array(steps.length).fill(undefined);
      for (const gap of gaps) values[at.get(gap)!] = null;
      for (const point of points) if (point.values[line] !== undefined) values[at.get(point.step)!] = point.values[line];
      return values;
    };
    return [steps, ...lines.map((line) => column(kept, line)), column(lost, lines[0])];
  }
}
