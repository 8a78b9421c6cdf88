// One job while it runs and after: its story is followed event by event. What only changes with the state, the server draws.
import { chartIn, type Chart } from "../chart";
import { Curve, LINES, type Line } from "../curve";
import { follow, showJob, type Job, type Told } from "../live";
import { ask, complain, find, notify, Problem, text } from "../page";

const MOST_LINES = 5000;
const WAITING = ["queued", "blocked"];

export function mount(element: HTMLElement): void {
  const page = new JobPage(element);
  page.start();
}

class JobPage {
  private readonly curve = new Curve();
  private readonly charts: Chart[] = [];
  private readonly log: Log;
  private readonly samples: Samples | null;
  private stream: { stop(): void } | null = null;
  private revision = 0;
  private job: Job | null = null;
  private isDrawing = false;

  constructor(private readonly element: HTMLElement) {
    this.log = new Log(element);
    const curves = element.querySelector("[data-curves]");
    this.samples = curves ? new Samples(element) : null;
    if (curves) this.charts = chartsIn(curves, this.curve);
    element.addEventListener("click", (event) => this.clicked(event));
    document.body.addEventListener("htmx:afterSettle", () => this.settled());
  }

  start(): void {
    this.stream?.stop();
    this.stream = this.isWaiting() ? this.followQueue() : this.followStory();
  }

  // While a job waits, its own stream is silent, and its place moves with the other jobs.
  private followQueue(): { stop(): void } {
    const states = new Map<string, string>();
    return follow(this.element.dataset.waitsWith!, {
      job: (job: Job) => {
        const before = states.get(job.id);
        states.set(job.id, job.state);
        if (job.id === this.element.dataset.jobId && !WAITING.includes(job.state)) {
          this.stream?.stop();
          this.stream = this.followStory();
        } else if (before !== undefined && before !== job.state) moved();
      },
    });
  }

  private followStory(): { stop(): void } {
    return follow(this.element.dataset.streamOf!, {
      job: (job: Job) => this.heardJob(job),
      event: (told: Told) => this.heard(told),
      reset: () => this.reset(),
    });
  }

  private isWaiting(): boolean {
    return WAITING.includes(find("#status").dataset.state ?? "") && find("#attempts").querySelector("li") === null;
  }

  private reset(): void {
    this.revision = 0;
    this.curve.clear();
    this.log.clear();
    this.drawSoon();
  }

  private heardJob(job: Job): void {
    this.job = job;
    if (job.revision > this.shownRevision()) moved();
    // An ended story would be asked for again and again by the browser.
    if (job.ended_at !== null && this.revision >= job.revision) this.stream?.stop();
    this.drawSoon();
  }

  private heard(told: Told): void {
    if (told.revision <= this.revision) return;
    this.revision = told.revision;
    if (told.kind === "metric") this.curve.add(told);
    if (told.kind === "log") this.log.add(told);
    if (told.kind === "sample") this.samples?.hold(told);
    // What is replayed is older than the job that the stream began with.
    if (this.job && told.revision > this.job.revision) {
      if (told.kind === "progress") this.job.progress = told.body;
      if (told.kind === "state" && told.body.to) this.job.state = told.body.to;
    }
    if (told.kind === "state") this.changed(told);
    this.drawSoon();
  }

  private changed(told: Told): void {
    this.log.state(told);
    if (told.revision > this.shownRevision()) moved();
  }

  // How far the job had come when the server drew its head.
  private shownRevision(): number {
    return Number(find("#status").dataset.revision);
  }

  // The head of the page is new: a screen reader is told its state from a place that stays.
  private settled(): void {
    const state = find("#status .badge").textContent!.trim();
    const said = find("[data-said]", this.element);
    if (said.textContent !== state) said.textContent = state;
    this.drawSoon();
  }

  // A replay brings thousands of events; the page is drawn once a frame.
  private drawSoon(): void {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      this.draw();
    });
  }

  private draw(): void {
    this.log.draw();
    this.element.toggleAttribute("data-over", this.job !== null && this.job.ended_at !== null);
    if (this.job && this.job.ended_at === null) showJob(find("#status"), this.job);
    if (!this.samples) return;
    this.samples.draw();
    const curves = find("[data-curves]", this.element);
    find("[data-some]", curves).hidden = this.curve.isEmpty;
    find("[data-none]", curves).hidden = !this.curve.isEmpty;
    if (this.curve.isEmpty) return;
    showFigures(curves, this.curve);
    for (const chart of this.charts) chart.draw();
  }

  private clicked(event: Event): void {
    const button = (event.target as Element).closest<HTMLElement>("[data-do]");
    if (button?.dataset.do === "cancel") this.confirmCancel();
    else if (button) void this.act(button.dataset.do!);
  }

  private confirmCancel(): void {
    const dialog = find<HTMLDialogElement>("[data-cancelling]", this.element);
    dialog.returnValue = "";
    dialog.addEventListener("close", () => dialog.returnValue === "cancel" && void this.act("cancel"), { once: true });
    dialog.showModal();
  }

  private async act(what: string): Promise<void> {
    for (const button of this.element.querySelectorAll<HTMLButtonElement>("[data-do]")) button.disabled = true;
    try {
      await ask("POST", `${this.element.dataset.address}/${what}`);
      moved();
    } catch (error) {
      complain(error);
      for (const button of this.element.querySelectorAll<HTMLButtonElement>("[data-do]")) button.disabled = false;
      if (error instanceof Problem && error.status === 409) moved(); // it has moved on meanwhile
    }
    find("h1", this.element).focus();
  }
}

// The server draws the head of the page and the attempts anew.
function moved(): void {
  document.body.dispatchEvent(new CustomEvent("moved"));
}

function chartsIn(within: ParentNode, curve: Curve): Chart[] {
  return [
    chartIn(within, curve, "loss", { lines: ["loss", "validation_loss"], write: short, range: (_, highest) => [0, highest * 1.08 || 1] }),
    chartIn(within, curve, "accuracy", { lines: ["accuracy", "validation_accuracy"], write: percent, range: (lowest) => [Math.max(0, lowest - 0.05), 1.01] }),
    chartIn(within, curve, "learning_rate", { lines: ["learning_rate"], write: short, range: (_, highest) => [0, highest * 1.08 || 1] }),
  ];
}

function showFigures(within: ParentNode, curve: Curve): void {
  for (const line of LINES) {
    const value = curve.latest(line);
    find(`[data-latest="${line}"]`, within).textContent = value === undefined ? "–" : WRITTEN[line](value);
  }
  const { step, epoch } = curve.last!;
  find("[data-where]", within).textContent = `${text("step", { number: step })}, ${text("epoch", { number: Number(epoch.toFixed(1)) })}`;
  find("[data-lost-key]", within).hidden = !curve.hasLost;
}

function short(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-5 ? Number(value.toPrecision(2)).toExponential() : Number(value.toPrecision(3)).toString();
}

function percent(value: number): string {
  return `${Number((100 * value).toFixed(1))} %`;
}

const WRITTEN: { [line in Line]: (value: number) => string } = {
  loss: short,
  validation_loss: short,
  accuracy: percent,
  validation_accuracy: percent,
  learning_rate: short,
  images_per_second: (value) => Math.round(value).toString(),
};

// What the job tells, line by line; it follows the end until the reader scrolls away from it.
class Log {
  private readonly box: HTMLElement;
  private readonly tail: HTMLInputElement;
  private waiting: string[] = [];
  private attempt = 0;

  constructor(within: ParentNode) {
    this.box = find("[data-log]", within);
    this.tail = find<HTMLInputElement>("[data-tail]", within);
    this.tail.addEventListener("change", () => this.follow());
    this.box.addEventListener("scroll", () => (this.tail.checked = this.isAtEnd()));
    find("[data-copy-log]", within).addEventListener("click", () => void this.copy());
  }

  add(told: Told): void {
    this.begin(told);
    this.waiting.push(`${clock(told.at)}  ${told.body.text ?? ""}`);
  }

  state(told: Told): void {
    const words = told.body.reason?.message;
    this.begin(told);
    if (words) this.waiting.push(`${clock(told.at)}  ${words}`);
  }

  private begin(told: Told): void {
    if (told.attempt > 1 && told.attempt !== this.attempt) this.waiting.push(`${clock(told.at)}  ${text("attempt", { number: told.attempt })}`);
    this.attempt = told.attempt;
  }

  clear(): void {
    this.waiting = [];
    this.attempt = 0;
    for (const line of this.box.querySelectorAll("[data-line]")) line.remove();
    find("[data-cut]", this.box).hidden = true;
  }

  draw(): void {
    if (!this.waiting.length) return;
    const lines = document.createDocumentFragment();
    if (this.waiting.length > MOST_LINES) this.cut();
    for (const words of this.waiting.splice(0).slice(-MOST_LINES)) {
      const line = document.createElement("p");
      line.dataset.line = "";
      line.className = "name whitespace-pre-wrap";
      line.textContent = words;
      lines.append(line);
    }
    find("[data-no-log]", this.box).hidden = true;
    this.box.append(lines);
    const surplus = [...this.box.querySelectorAll("[data-line]")].slice(0, -MOST_LINES);
    for (const line of surplus) line.remove();
    if (surplus.length) this.cut();
    this.follow();
  }

  // More lines than a page can hold well: it says so, and where they all are.
  private cut(): void {
    find("[data-cut]", this.box).hidden = false;
  }

  private follow(): void {
    if (this.tail.checked) this.box.scrollTop = this.box.scrollHeight;
  }

  private isAtEnd(): boolean {
    return this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 8;
  }

  // Without HTTPS a browser keeps its clipboard to itself; then the lines are marked, ready to be copied.
  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText([...this.box.querySelectorAll("[data-line]")].map((line) => line.textContent).join("\n"));
      notify("success", text("copied"));
    } catch {
      getSelection()?.selectAllChildren(this.box);
      notify("info", text("marked"));
    }
  }
}

const CLOCK = new Intl.DateTimeFormat(document.documentElement.lang, { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" });

function clock(at: number): string {
  return CLOCK.format(new Date(at * 1000));
}

// A few validation pictures, the same ones after each epoch.
class Samples {
  private held: Told | null = null;
  private readonly section: HTMLElement;

  constructor(private readonly within: HTMLElement) {
    this.section = find("[data-samples]", within);
  }

  hold(told: Told): void {
    this.held = told;
  }

  draw(): void {
    if (!this.held) return;
    const { epoch, pictures } = this.held.body as { epoch: number; pictures: Picture[] };
    this.held = null;
    // Told with the job's head, because a training may have begun before its version was taken.
    const classes: string[] = JSON.parse(find("#classes", this.within).textContent ?? "[]");
    const nameOf = (index: number) => classes[index] ?? text("class", { number: index });
    this.section.hidden = pictures.length === 0;
    find("[data-samples-of]", this.section).textContent = text("epoch", { number: epoch });
    const list = find("[data-pictures]", this.section);
    pictures.forEach((picture, index) => {
      const drawn = list.children[index] ?? list.appendChild(this.made());
      this.show(drawn, picture, nameOf);
    });
    while (list.childElementCount > pictures.length) list.lastElementChild!.remove();
  }

  private made(): Element {
    return find<HTMLTemplateElement>("template[data-picture]", this.section).content.firstElementChild!.cloneNode(true) as Element;
  }

  private show(drawn: Element, { image_id, name, label, predicted, score }: Picture, nameOf: (index: number) => string): void {
    const image = find<HTMLImageElement>("[data-image]", drawn);
    const address = `${this.within.dataset.thumbnails}${image_id}/thumbnail`;
    if (image.getAttribute("src") !== address) image.src = address;
    image.alt = name;
    find("[data-right]", drawn).hidden = label !== predicted;
    find("[data-wrong]", drawn).hidden = label === predicted;
    find("[data-guess]", drawn).textContent = nameOf(predicted);
    find("[data-sure]", drawn).textContent = `${Math.round(100 * score)} %`;
    find("[data-truth]", drawn).textContent = label === predicted ? "" : text("truth", { name: nameOf(label) });
  }
}

interface Picture {
  image_id: string;
  name: string;
  label: number;
  predicted: number;
  score: number;
}
