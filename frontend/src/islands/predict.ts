// A picture in, the model's answer out: dropped, pasted, chosen, photographed, or dragged from the page.
// Several are answered one after the other; the last few stay in view.
import { duration, find, notify, Problem, problemFrom, proof, text, unreachable } from "../page";

interface Prediction {
  predictions: { label: string; score: number }[];
  milliseconds: number;
}

const NUM_CLASSES_SHOWN = 5;
const MOST_TRIES = 10;
const MOST_CARDS = 12;
const LOADING_AFTER_SECONDS = 1.5;

export function mount(island: HTMLElement): void {
  const cards = find("[data-cards]", island);
  let turn: Promise<void> = Promise.resolve();

  const take = (files: File[]): void => {
    if (!files.length) return;
    const drawn = files.map((file) => drawCard(island, file));
    cards.prepend(...drawn);
    cards.tabIndex = 0; // The list scrolls, so a keyboard must reach it once it holds something.
    removeOldest(cards);
    for (const [place, file] of files.entries()) turn = turn.then(() => answer(island, drawn[place], file));
  };
  listenToInputs(island, take);
  listenToDrops(island, take);
  listenToPaste(island, take);
  offerCamera(island);
  // While a person looks for a picture the model comes into memory. If that fails, the picture's answer says why.
  void fetch(`${island.dataset.address}/load`, { method: "POST", headers: proof() }).catch(() => undefined);
}

// One picture's place in the list: it is drawn at once, and filled in when the answer is there.

function drawCard(island: HTMLElement, file: File): HTMLElement {
  const card = copyOf("card", island);
  card.dataset.state = "waiting";
  find("[data-name]", card).textContent = file.name;
  find("[data-status]", card).textContent = text("looking");
  const picture = find<HTMLImageElement>("[data-picture]", card);
  // Not every format that the server reads can be drawn by a browser: HEIC, some TIFF.
  picture.addEventListener("error", () => showUndrawable(card, file));
  // A tiny picture is enlarged as it is, in squares.
  picture.addEventListener("load", () => picture.classList.toggle("[image-rendering:pixelated]", picture.naturalWidth < 64));
  picture.src = URL.createObjectURL(file);
  find("[data-again]", card).addEventListener("click", () => {
    card.dataset.state = "waiting";
    find("[data-problem]", card).hidden = true;
    find("[data-status]", card).textContent = text("looking");
    void answer(island, card, file);
  });
  return card;
}

function copyOf(name: string, island: HTMLElement): HTMLElement {
  const kept = find<HTMLTemplateElement>(`template[data-${name}]`, island);
  return (kept.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
}

function showUndrawable(card: HTMLElement, file: File): void {
  find("[data-picture]", card).hidden = true;
  const instead = find("[data-instead]", card);
  instead.hidden = false;
  find("[data-format]", instead).textContent = /\.(\w{1,5})$/.exec(file.name)?.[1].toUpperCase() ?? "?";
}

function removeOldest(cards: HTMLElement): void {
  for (const card of [...cards.children].slice(MOST_CARDS) as HTMLElement[]) {
    if (card.dataset.state === "waiting") continue;
    URL.revokeObjectURL(find<HTMLImageElement>("[data-picture]", card).src);
    card.remove();
  }
}

async function answer(island: HTMLElement, card: HTMLElement, file: File): Promise<void> {
  const status = find("[data-status]", card);
  const began = performance.now();
  const loading = setTimeout(() => (status.textContent = text("loading model")), LOADING_AFTER_SECONDS * 1000);
  try {
    const said = await ask(`${island.dataset.address}/predict`, file, (words) => {
      clearTimeout(loading);
      status.textContent = words;
    });
    const total = Math.round(performance.now() - began);
    status.textContent = text("took", { total: milliseconds(total), model: milliseconds(said.milliseconds) });
    showBars(island, card, said);
    card.dataset.state = "answered";
    const [best] = said.predictions;
    if (best) tell(island, text("answered", { name: file.name, label: best.label, percent: percent(best.score) }));
  } catch (error) {
    showProblem(card, error instanceof Problem ? error : new Problem(0, "", text("failed")));
    tell(island, `${file.name}: ${find("[data-words]", card).textContent}`);
    if (!(error instanceof Problem)) console.error(error);
  } finally {
    clearTimeout(loading);
  }
}

// The model's answer; a server that asks for patience is asked again by itself.
async function ask(address: string, file: File, wait: (words: string) => void): Promise<Prediction> {
  const asked = `${address}?${new URLSearchParams({ top: String(NUM_CLASSES_SHOWN), name: file.name })}`;
  for (let tries = 1; ; tries++) {
    const headers = { ...proof(), "Content-Type": "application/octet-stream" };
    const said = await fetch(asked, { method: "POST", headers, body: file }).catch(() => {
      throw unreachable();
    });
    if (said.ok) return (await said.json()) as Prediction;
    const problem = problemFrom(said.status, await said.text());
    const seconds = Number(said.headers.get("Retry-After"));
    if (!seconds || tries > MOST_TRIES) throw problem;
    wait(`${problem.message} ${text("trying again", { number: tries, most: MOST_TRIES })}`);
    await new Promise((go) => setTimeout(go, seconds * 1000));
  }
}

function showBars(island: HTMLElement, card: HTMLElement, said: Prediction): void {
  const bars = said.predictions.map(({ label, score }) => {
    const bar = copyOf("bar", island);
    find("[data-label]", bar).textContent = label;
    find("[data-percent]", bar).textContent = percent(score);
    find<HTMLProgressElement>("[data-share]", bar).value = score;
    return bar;
  });
  find("[data-bars]", card).replaceChildren(...bars);
}

function milliseconds(time: number): string {
  return time < 1000 ? `${Math.round(time)} ms` : duration(time / 1000);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function showProblem(card: HTMLElement, problem: Problem): void {
  card.dataset.state = "refused";
  find("[data-status]", card).textContent = "";
  find("[data-words]", card).textContent = problem.message;
  find("[data-hint]", card).textContent = problem.hint;
  // What the picture is to blame for will not be better the second time; a sign-in in another tab helps.
  find("[data-again]", card).hidden = problem.status !== 401 && problem.status >= 400 && problem.status < 500;
  find("[data-problem]", card).hidden = false;
}

function tell(island: HTMLElement, words: string): void {
  find("[data-told]", island).textContent = words;
}

// The ways in.

type Take = (files: File[]) => void;

function listenToInputs(island: HTMLElement, take: Take): void {
  for (const input of island.querySelectorAll<HTMLInputElement>("input[type=file]"))
    input.addEventListener("change", () => {
      take([...(input.files ?? [])]);
      // The same picture may be chosen twice.
      input.value = "";
    });
}

// A page without another place to drop takes a picture anywhere.
function listenToDrops(island: HTMLElement, take: Take): void {
  const zone = find("[data-drop]", island);
  const isAlone = document.querySelectorAll("[data-drop]").length === 1;
  const isMine = (event: DragEvent): boolean => {
    const over = (event.target as Element).closest?.("[data-drop]");
    return island.isConnected && (over === zone || (isAlone && carriesPicture(event)));
  };
  const look = (event: DragEvent): void => {
    zone.classList.toggle("is-over", isMine(event));
    if (!isMine(event)) return;
    event.preventDefault();
    event.dataTransfer!.dropEffect = "copy";
  };
  document.addEventListener("dragenter", look);
  document.addEventListener("dragover", look);
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && zone.classList.remove("is-over"));
  document.addEventListener("drop", (event) => {
    zone.classList.remove("is-over");
    if (!isMine(event)) return;
    event.preventDefault();
    void dropped(event.dataTransfer!).then(take);
  });
}

function carriesPicture(event: DragEvent): boolean {
  const types = event.dataTransfer?.types ?? [];
  return types.includes("Files") || types.includes("text/uri-list");
}

async function dropped(transfer: DataTransfer): Promise<File[]> {
  const isFolder = [...transfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
  if (isFolder) {
    notify("error", text("folder dropped"));
    return [];
  }
  const files = [...transfer.files];
  return files.length ? files : await fromPage(transfer);
}

// A picture that was dragged out of a page arrives as its address only; our security policy opens none but our own.
async function fromPage(transfer: DataTransfer): Promise<File[]> {
  const inside = new DOMParser().parseFromString(transfer.getData("text/html"), "text/html").querySelector("img");
  const named = inside?.getAttribute("src") || transfer.getData("text/uri-list").split("\n")[0].trim();
  const address = URL.canParse(named, location.href) ? new URL(named, location.href) : null;
  // Of a picture in a dataset the page shows the thumbnail; the model is asked about the original.
  const original = address?.href.replace(/\/thumbnail$/, "/file") ?? "";
  const picture = address?.origin === location.origin && named ? await fetch(original).catch(() => null) : null;
  if (picture?.ok) return [new File([await picture.blob()], inside?.alt || text("dragged picture"))];
  notify("error", text("foreign picture"));
  return [];
}

function listenToPaste(island: HTMLElement, take: Take): void {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || !island.isConnected) return;
    event.preventDefault();
    take(files);
  });
}

// Only where there is a camera and a finger: elsewhere the button would open the same window as the other one.
function offerCamera(island: HTMLElement): void {
  if (!matchMedia("(pointer: coarse)").matches) return;
  const show = (): void => {
    find("[data-camera]", island).hidden = false;
  };
  // A page without HTTPS cannot know; the device's own chooser then does.
  if (!navigator.mediaDevices?.enumerateDevices) show();
  else void navigator.mediaDevices.enumerateDevices().then((all) => all.some((one) => one.kind === "videoinput") && show());
}
