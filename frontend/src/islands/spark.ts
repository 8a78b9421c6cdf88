// The training loss in a job's row, small: read once, and again from where it ended when the job has told something new.
import { ask } from "../page";
import type { Told } from "../live";

const WIDTH = 112;
const HEIGHT = 32;
const PAUSE_SECONDS = 2;
const SVG = "http://www.w3.org/2000/svg";

interface Known {
  revision: number;
  losses: Map<number, number>;
}

// A list that reloads itself draws its rows anew; what was read stays.
const known = new Map<string, Known>();

export function mount(element: HTMLElement): void {
  const spark = new Spark(element);
  // Only rows that are looked at ask for anything.
  new IntersectionObserver((seen, observer) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    spark.read();
    element.closest("[data-job]")?.addEventListener("progress", () => spark.read());
  }).observe(element);
}

class Spark {
  private readonly known: Known;
  private isReading = false;
  private isAsked = false;

  constructor(private readonly element: HTMLElement) {
    const id = element.dataset.jobId!;
    this.known = known.get(id) ?? { revision: 0, losses: new Map() };
    known.set(id, this.known);
    this.draw();
  }

  // At most once in a while, and never twice at the same time.
  read(): void {
    this.isAsked = true;
    if (this.isReading || !this.element.isConnected) return;
    this.isReading = true;
    this.isAsked = false;
    void this.fetch().finally(() =>
      setTimeout(() => {
        this.isReading = false;
        if (this.isAsked) this.read();
      }, PAUSE_SECONDS * 1000),
    );
  }

  private async fetch(): Promise<void> {
    try {
      let more: string | null = "";
      while (more !== null) {
        const address = `${this.element.dataset.events}?kind=metric&limit=500&after=${this.known.revision}`;
        const page: { items: Told[]; next_cursor: string | null } = await ask("GET", address);
        page.items.forEach((told) => this.take(told));
        more = page.next_cursor;
      }
      this.draw();
    } catch {
      // A small picture is not worth a notice; the row says all in words.
    }
  }

  private take(told: Told): void {
    this.known.revision = told.revision;
    const { step, values } = told.body as { step: number; values: { loss?: number } };
    if (values.loss !== undefined) this.known.losses.set(step, values.loss);
  }

  private draw(): void {
    const points = [...this.known.losses].sort((a, b) => a[0] - b[0]);
    if (points.length < 2) return;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("class", "size-full");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    line.setAttribute("points", drawn(points));
    for (const [name, value] of Object.entries({ fill: "none", stroke: "currentColor", "stroke-width": "1.5", "stroke-linejoin": "round" })) line.setAttribute(name, value);
    svg.append(line);
    this.element.replaceChildren(svg);
  }
}

function drawn(points: [number, number][]): string {
  const [first, last] = [points[0][0], points[points.length - 1][0]];
  const losses = points.map(([, loss]) => loss);
  const [lowest, highest] = [Math.min(...losses), Math.max(...losses)];
  const x = (step: number) => 1 + ((WIDTH - 2) * (step - first)) / (last - first || 1);
  const y = (loss: number) => HEIGHT - 2 - ((HEIGHT - 4) * (loss - lowest)) / (highest - lowest || 1);
  return points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
}
