// What happens on the server, on the page: one event stream for a page that is looked at, none for a hidden one.
import { duration, find, text } from "./page";

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

// Follow a stream until `stop` is called; after a loss it goes on behind the last event that arrived.
export function follow(address: string, hear: Hear): { stop(): void } {
  let source: EventSource | null = null;
  let cursor = "";
  let hiding = 0;
  let losing = 0;

  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    close();
    source = new EventSource(cursor ? `${address}?after=${encodeURIComponent(cursor)}` : address);
    source.onopen = () => {
      clearTimeout(losing);
      losing = 0;
      showLost(false);
    };
    source.onerror = () => {
      losing ||= window.setTimeout(() => showLost(true), LOST_AFTER_SECONDS * 1000);
      // The browser tries again by itself, unless the server has answered with an error.
      if (source?.readyState === EventSource.CLOSED) window.setTimeout(() => source && open(), 2000);
    };
    for (const kind of ["job", "event", "reset"] as const)
      source.addEventListener(kind, (message) => {
        if (message.lastEventId) cursor = message.lastEventId;
        hear[kind]?.(JSON.parse(message.data));
      });
  };
  const look = () => {
    clearTimeout(hiding);
    if (!document.hidden) {
      if (!source) open();
    } else hiding = window.setTimeout(close, HIDDEN_SECONDS * 1000);
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("pagehide", close);
  open();
  return {
    stop() {
      document.removeEventListener("visibilitychange", look);
      clearTimeout(losing);
      close();
    },
  };
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
  const drawnAt = Date.now() / 1000;
  follow(address, {
    job(job: Job) {
      for (const element of document.querySelectorAll<HTMLElement>(`[data-job="${job.id}"]`)) showJob(element, job);
      const before = states.get(job.id);
      states.set(job.id, job.state);
      // The first frames are the snapshot, which the page shows already but for what moved while it was drawn.
      const isNews = before === undefined ? Math.max(job.created_at, job.ended_at ?? 0) > drawnAt - 2 : before !== job.state;
      if (isNews) document.body.dispatchEvent(new CustomEvent("moved"));
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
  if (time) time.textContent = left == null ? "" : text("left", { time: left < 60 ? `${Math.max(1, Math.round(left))} s` : duration(left) });
  element.dispatchEvent(new CustomEvent("progress", { detail: job }));
}
