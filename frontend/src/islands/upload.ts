// The way in: drops and choices become a queue of parcels that are sent one after the other, each with a row of its own.
import { chosen, entriesOf, gather } from "../dropped";
import { isArchive, isLitter, isNamedLikeSplit, look, nameOf, tally, type Contents, type Filed, type Tally } from "../folders";
import { complain, fileSize, find, notify, Problem, roughly, text } from "../page";
import { Delivery } from "../sending";
import { pack } from "../tar";
import { namesInZip } from "../zip";

const RATE_SECONDS = 5;
const MOST_NAMED = 6;
const queue: Sending[] = [];

export function mount(island: HTMLElement): void {
  const zone = find("[data-drop]", island);
  const take = (entries: (FileSystemEntry | File)[]) => takeDropped(island, entries).catch(complain);
  listenToDrops(island, zone, take);
  for (const input of island.querySelectorAll<HTMLInputElement>("input[type=file]"))
    input.addEventListener("change", () => {
      const files = chosen(input.files!);
      input.value = "";
      if (files.length) sort(island, files, []);
    });
}

window.addEventListener("beforeunload", (event) => {
  if (queue.some((sending) => sending.isUnderWay)) event.preventDefault();
});

// A drop beside the zone would make the browser leave the page, so the whole page takes it where no other zone could be meant.
function listenToDrops(island: HTMLElement, zone: HTMLElement, take: (entries: (FileSystemEntry | File)[]) => void): void {
  const isOurs = (target: EventTarget | null): boolean => {
    const zones = document.querySelectorAll("[data-drop]");
    const under = target instanceof Element ? target.closest("[data-drop]") : null;
    return under ? under === zone : zones.length === 1;
  };
  const isAnyone = (target: EventTarget | null) => target instanceof Element && target.closest("[data-drop]") !== null;
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files") || !island.isConnected) return;
    const ours = isOurs(event.target);
    zone.classList.toggle("is-over", ours);
    if (ours || !isAnyone(event.target)) event.preventDefault();
    if (ours) island.closest("details")?.setAttribute("open", "");
    if (ours || !isAnyone(event.target)) event.dataTransfer.dropEffect = ours ? "copy" : "none";
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) zone.classList.remove("is-over");
  });
  document.addEventListener("drop", (event) => {
    zone.classList.remove("is-over");
    if (!event.dataTransfer?.types.includes("Files") || !island.isConnected) return;
    const ours = isOurs(event.target);
    if (ours || !isAnyone(event.target)) event.preventDefault();
    if (ours) take(entriesOf(event.dataTransfer));
  });
}

async function takeDropped(island: HTMLElement, entries: (FileSystemEntry | File)[]): Promise<void> {
  const row = new Row(island, entries.map((entry) => entry.name).join(", "));
  row.summarise(text("upload looking", { num: 0 }));
  const gathered = await gather(entries, (num) => row.summarise(text("upload looking", { num })));
  if (!row.isShown) return;
  row.remove();
  sort(island, gathered.files, gathered.unreadable);
}

// Archives travel as they are, each by itself; all the rest of one drop travels together.
function sort(island: HTMLElement, files: Filed[], unreadable: string[]): void {
  const isLooseArchive = ({ name }: Filed) => !name.includes("/") && isArchive(name);
  for (const archive of files.filter(isLooseArchive)) sendArchive(island, archive.file).catch(complain);
  const rest = files.filter((file) => !isLooseArchive(file));
  if (rest.length || unreadable.length || !files.length) sendFolders(island, rest, unreadable);
}

async function sendArchive(island: HTMLElement, file: File): Promise<void> {
  const row = new Row(island, file.name);
  row.summarise(text("upload archive", { size: fileSize(file.size) }));
  const names = /\.zip$/i.test(file.name) ? await namesInZip(file) : null;
  const told = names && tally(names.filter((name) => !isLitter(name)));
  if (told?.numPictures && !told.classes.length) return row.refuse(text("upload no folder"), text("upload no folder hint"));
  if (told?.numPictures) {
    row.summarise(summary(told));
    row.note(notes(told, []));
  }
  enqueue(island, row, { name: file.name, blob: file, datasetName: nameOf(file.name) }, []);
}

function sendFolders(island: HTMLElement, files: Filed[], unreadable: string[]): void {
  const roots = [...new Set(files.filter(({ name }) => name.includes("/")).map(({ name }) => name.split("/")[0]))];
  const title = listed(roots, 3) || text("upload pictures without a folder");
  const row = new Row(island, title);
  const contents = look(files);
  row.note(notes(contents, unreadable));
  if (!contents.numPictures) row.refuse(text("upload no pictures"), text("upload no pictures hint"));
  else if (!contents.classes.length) row.askForClass(contents, (name) => sendClass(island, row, contents, name));
  else sendContents(island, row, contents, title);
}

// Loose pictures, whose class somebody has told.
function sendClass(island: HTMLElement, row: Row, contents: Contents, className: string): void {
  const files = contents.files.map(({ name, file }) => ({ name: `${className}/${name}`, file }));
  row.title(className);
  row.note([]);
  sendContents(island, row, look(files), className);
}

function sendContents(island: HTMLElement, row: Row, contents: Contents, name: string): void {
  row.summarise(summary(contents));
  const { blob, ends } = pack(contents.files);
  const names = contents.files.map((filed) => filed.name);
  const parcel = { name: `${name.replaceAll("/", " ")}.tar`, blob, datasetName: name };
  enqueue(island, row, parcel, names, ends);
}

function summary(contents: Tally): string {
  const pictures = counted("picture", contents.numPictures);
  const classes = counted("class", contents.classes.length);
  return text("upload found", { pictures, classes, names: listed(contents.classes, MOST_NAMED) });
}

function notes(contents: Tally & { numOthers?: number }, unreadable: string[]): string[] {
  const said: string[] = [];
  if (contents.numStrays && contents.classes.length) said.push(text("upload strays", { num: contents.numStrays }));
  if (contents.numOthers) said.push(text("upload not pictures", { num: contents.numOthers }));
  if (unreadable.length) said.push(text("upload unreadable", { num: unreadable.length, names: listed(unreadable, 3) }));
  if (isNamedLikeSplit(contents.classes)) said.push(text("upload named like a split", { names: listed(contents.classes, 3) }));
  return said;
}

function counted(noun: string, num: number): string {
  return text(num === 1 ? `upload 1 ${noun}` : `upload many ${noun}`, { num: written(num) });
}

function written(num: number): string {
  return num.toLocaleString(document.documentElement.lang);
}

function listed(names: string[], most: number): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? text("upload and more", { names: shown, num: names.length - most }) : shown;
}

interface Parts {
  name: string;
  blob: Blob;
  datasetName: string;
}

function enqueue(island: HTMLElement, row: Row, parcel: Parts, names: string[], ends: number[] = []): void {
  const delivery = new Delivery(island.dataset.api!, parcel, island.dataset.dataset ?? "");
  queue.push(new Sending(row, delivery, parcel.blob.size, names, ends, island.dataset.page!));
  void work();
}

let isWorking = false;

async function work(): Promise<void> {
  if (isWorking) return;
  isWorking = true;
  for (let next = waiting(); next; next = waiting()) await next.run();
  isWorking = false;
  // Only who has sent one thing, and has nothing left to answer or to read, surely wants to see it.
  const kept = queue.filter((sending) => sending.state !== "cancelled");
  if (kept.length === 1 && kept[0].state === "sent" && kept[0].isAlone) kept[0].open();
}

function waiting(): Sending | undefined {
  return queue.find((sending) => sending.state === "waiting");
}

class Sending {
  state: "waiting" | "sending" | "sent" | "failed" | "cancelled" = "waiting";
  private readonly stopping = new AbortController();
  private samples: [seconds: number, bytes: number][] = [];

  constructor(
    private readonly row: Row,
    private readonly delivery: Delivery,
    private readonly size: number,
    private readonly names: string[],
    private readonly ends: number[],
    private readonly page: string,
  ) {
    row.say(text("upload waiting"));
    row.onCancel(() => this.cancel());
    row.onRetry(() => this.retry());
  }

  get isUnderWay(): boolean {
    return this.state === "waiting" || this.state === "sending";
  }

  get isAlone(): boolean {
    return this.row.isAlone;
  }

  async run(): Promise<void> {
    this.state = "sending";
    this.samples = [];
    try {
      this.show(0);
      await this.delivery.send((bytes) => this.show(bytes), this.stopping.signal);
      this.row.store(text("upload starting"));
      await this.delivery.start();
      this.state = "sent";
      this.finish();
    } catch (error) {
      if (!this.stopping.signal.aborted) this.fail(error);
    }
  }

  open(): void {
    if (location.pathname !== this.address()) location.assign(this.address());
  }

  // The dataset's own page shows the import anyway.
  private finish(): void {
    if (location.pathname !== this.address()) return this.row.finish(text("upload sent"), this.address());
    this.row.remove();
    notify("success", text("upload sent"));
  }

  private address(): string {
    return `${this.page}/${this.delivery.datasetId}`;
  }

  private cancel(): void {
    if (!this.isUnderWay && this.state !== "failed") return this.row.remove();
    this.state = "cancelled";
    this.stopping.abort();
    this.row.finish(text("upload cancelled"));
  }

  private retry(): void {
    this.state = "waiting";
    this.row.say(text("upload waiting"));
    void work();
  }

  private fail(error: unknown): void {
    this.state = "failed";
    const isTold = error instanceof Problem;
    if (!isTold) console.error(error);
    this.row.fail(isTold ? error.message : text("failed"), isTold ? error.hint : "");
  }

  private show(bytes: number): void {
    // A browser looks at each file before it sends the first byte.
    this.row.say(text(bytes === 0 ? "upload preparing" : bytes < this.size ? "upload sending" : "upload storing"));
    const { rate, left } = this.pace(bytes);
    const at = this.ends.findIndex((end) => end > bytes);
    const number = at < 0 ? this.ends.length : at + 1;
    this.row.progress(bytes, this.size, [
      this.names[number - 1] ?? "",
      this.names.length ? text("upload file of", { num: written(number), all: written(this.names.length) }) : "",
      text("upload done of", { done: fileSize(Math.min(bytes, this.size)), all: fileSize(this.size) }),
      rate ? `${fileSize(rate)}/s` : "",
      left === null ? "" : text("upload time left", { time: roughly(left) }),
    ]);
  }

  // Bytes a second over the last few seconds, and how many seconds are left at that pace.
  private pace(bytes: number): { rate: number; left: number | null } {
    const now = performance.now() / 1000;
    this.samples = [...this.samples.filter(([at]) => at > now - RATE_SECONDS), [now, bytes]];
    const [began, first] = this.samples[0];
    const rate = now - began > 0.5 ? (bytes - first) / (now - began) : 0;
    return { rate, left: rate && bytes < this.size ? (this.size - bytes) / rate : null };
  }
}

// How one parcel is shown: the template `[data-row]` of the island, filled in.
class Row {
  private readonly element: HTMLElement;

  constructor(island: HTMLElement, title: string) {
    const drawn = find<HTMLTemplateElement>("[data-row]", island).content.cloneNode(true) as DocumentFragment;
    this.element = drawn.firstElementChild as HTMLElement;
    find("[data-uploads]", island).append(this.element);
    this.title(title);
    this.onCancel(() => this.remove());
  }

  // Not once somebody has cancelled it.
  get isShown(): boolean {
    return this.element.isConnected;
  }

  get isAlone(): boolean {
    return document.querySelectorAll("[data-uploads] > li").length <= 1;
  }

  title(words: string): void {
    this.part("title").textContent = words;
  }

  summarise(words: string): void {
    this.part("summary").textContent = words;
  }

  note(words: string[]): void {
    this.part("notes").replaceChildren(
      ...words.map((one) => {
        const line = document.createElement("li");
        line.textContent = one;
        return line;
      }),
    );
  }

  // The state, which a screen reader says; figures that change all the time stand elsewhere.
  say(words: string): void {
    this.hide("failed", "sending");
    if (this.part("said").textContent !== words) this.part("said").textContent = words;
  }

  progress(bytes: number, size: number, [name, number, amount, rate, left]: string[]): void {
    this.part("sending").hidden = false;
    const bar = this.part<HTMLProgressElement>("bar");
    bar.max = Math.max(1, size);
    bar.value = bytes;
    this.part("file").textContent = name;
    this.part("figures").textContent = [number, amount, rate, left].filter(Boolean).join(" · ");
  }

  // The bytes are there; what is left takes no time to speak of and cannot be cancelled halfway.
  store(words: string): void {
    this.say(words);
    this.part("cancel").hidden = true;
  }

  refuse(words: string, hint: string): void {
    this.summarise("");
    this.fail(words, hint);
    this.part("retry").hidden = true;
    this.close();
  }

  fail(words: string, hint: string): void {
    this.say("");
    this.part("cancel").hidden = false;
    this.part("failed").hidden = false;
    this.part("words").textContent = words;
    this.part("hint").textContent = hint;
  }

  finish(words: string, address = ""): void {
    this.say(words);
    this.part("cancel").hidden = false;
    this.close();
    const link = this.part<HTMLAnchorElement>("open");
    link.hidden = !address;
    link.href = address;
  }

  askForClass(contents: Contents, answered: (name: string) => void): void {
    this.summarise(text("upload loose", { pictures: counted("picture", contents.numPictures) }));
    const form = this.part<HTMLFormElement>("ask");
    const field = find<HTMLInputElement>("input", form);
    form.hidden = false;
    field.focus();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = field.value.trim().replaceAll("/", " ");
      if (!name) return;
      // A second press would meet what moves up in its place.
      form.inert = true;
      setTimeout(() => (form.hidden = true), 700);
      answered(name);
    });
  }

  onCancel(act: () => void): void {
    this.part("cancel").onclick = act;
  }

  onRetry(act: () => void): void {
    this.part("retry").onclick = act;
  }

  remove(): void {
    this.element.remove();
  }

  private close(): void {
    this.part("cancel-words").textContent = text("upload close");
  }

  private hide(...names: string[]): void {
    for (const name of names) this.part(name).hidden = true;
  }

  private part<T extends HTMLElement = HTMLElement>(name: string): T {
    return find<T>(`[data-${name}]`, this.element);
  }
}
