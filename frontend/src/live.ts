// What happens on the server, on the page: one event stream for a page that is looked at, none for a hidden one.
import { find, notify, roughly, text } from "./page";

export interface Job {
  id: string;
  title: string;
  kind: string;
  state: string;
  revision: number;
  progress: { phase?: string; done?: number; total?: number; eta_seconds?: number; loss?: number; accuracy?: number; [name: string]: unknown };
  reason: { message: string; hint: string } | null;
  result: Record<string, unknown> | null;
  created_at: number;
  ended_at: number | null;
}

export interface Told {
  job_id: string;
  revision: number;
  attempt: number;
  kind: "state" | "progress" | "metric" | "log" | "sample";
  body: Record<string, any>;
  at: number;
}

type Hear = { [kind in "job" | "event" | "reset"]?: (data: any) => void };

// A browser gives one server six connections for all its tabs, so a hidden page lets its own go.
const HIDDEN_SECONDS = 20;
const LOST_AFTER_SECONDS = 3;
const AGAIN_SECONDS = [2, 5, 15, 60];
let isSignedOut = false;

// Follow a stream until `stop` is called; after a loss it goes on behind the last event that arrived.
export function follow(address: string, hear: Hear): { stop(): void } {
  let source: EventSource | null = null;
  let cursor = "";
  let hiding = 0;
  let losing = 0;
  let refusals = 0;

  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    const asked = new URL(address, location.href);
    if (cursor) asked.searchParams.set("after", cursor);
    source = new EventSource(asked);
    source.onopen = () => {
      clearTimeout(losing);
      losing = refusals = 0;
      isSignedOut = false;
      showLost(false);
    };
    source.onerror = () => {
      losing ||= window.setTimeout(() => showLost(true), LOST_AFTER_SECONDS * 1000);
      // The browser tries again by itself, unless the server has answered with an error.
      if (source?.readyState === EventSource.CLOSED) void refused();
    };
    for (const kind of ["job", "event", "reset"] as const)
      source.addEventListener(kind, (message) => {
        if (message.lastEventId) cursor = message.lastEventId;
        hear[kind]?.(JSON.parse(message.data));
      });
  };
  // A server that is starting refuses for a while; a session that has ended does so until somebody signs in again.
  const refused = async () => {
    const asked = source;
    const status = await fetch("/api/v1/me").then((answer) => answer.status, () => 0);
    if (source !== asked || !asked) return;
    if (status === 401) {
      close();
      clearTimeout(losing);
      losing = 0;
      showLost(false);
      tellSignedOut();
      return;
    }
    const seconds = AGAIN_SECONDS[Math.min(refusals++, AGAIN_SECONDS.length - 1)];
    window.setTimeout(() => source === asked && open(), seconds * 1000);
  };
  // Also where the page is opened behind another one, or is come back to.
  const look = () => {
    clearTimeout(hiding);
    if (!document.hidden) {
      if (!source) open();
    } else hiding = window.setTimeout(close, HIDDEN_SECONDS * 1000);
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("pageshow", look);
  window.addEventListener("pagehide", close);
  look();
  return {
    stop() {
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("pageshow", look);
      window.removeEventListener("pagehide", close);
      clearTimeout(losing);
      clearTimeout(hiding);
      close();
    },
  };
}

// Once, however many streams a page follows.
function tellSignedOut(): void {
  if (!isSignedOut) notify("error", text("signed out"), text("sign in again"));
  isSignedOut = true;
}

function showLost(isLost: boolean): void {
  find("#lost").hidden = !isLost;
}

// Keeps every `data-job` of the page at its job's present state, and asks lists to reload when one begins or ends.
export function watchWorkspace(): void {
  for (const element of document.querySelectorAll<HTMLElement>("[data-stream]"))
    if (element.dataset.stream) watch(element.dataset.stream);
}

function watch(address: string): void {
  const states = new Map<string, string>();
  // By the server's clock, in whole seconds.
  const drawnAt = Number(document.body.dataset.drawnAt);
  follow(address, {
    job(job: Job) {
      const shown = [...document.querySelectorAll<HTMLElement>(`[data-job="${job.id}"]`)];
      // The first frames are the snapshot, which the page shows already but for what moved while it was drawn.
      const isNew = !states.has(job.id) && Math.max(job.created_at, job.ended_at ?? 0) >= drawnAt;
      const hasMoved = states.has(job.id) && states.get(job.id) !== job.state;
      const isShownOld = shown.some((element) => element.dataset.state !== job.state);
      states.set(job.id, job.state);
      for (const element of shown) showJob(element, job);
      if (isNew || hasMoved || isShownOld) document.body.dispatchEvent(new CustomEvent("moved"));
    },
  });
}

// `[data-progress]`, `[data-phase]`, `[data-left]` inside an element show how far the job is.
export function showJob(element: HTMLElement, job: Job): void {
  element.dataset.state = job.state;
  const { phase, done, total, eta_seconds: left } = job.progress;
  const bar = element.querySelector<HTMLProgressElement>("[data-progress]");
  if (bar && total) {
    bar.max = total;
    bar.value = done ?? 0;
  }
  const words = element.querySelector("[data-phase]");
  if (words && phase) words.textContent = total ? `${text(phase)} · ${done} / ${total}` : text(phase);
  const time = element.querySelector("[data-left]");
  if (time) time.textContent = left == null ? "" : text("left", { time: roughly(left) });
  element.dispatchEvent(new CustomEvent("progress", { detail: job }));
}
