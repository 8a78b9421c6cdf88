// What every script of a page uses: asking our API, telling the reader, and finding elements.

export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, message: string, readonly hint = "") {
    super(message);
  }
}

// An element that the template promises to be there.
export function find<T extends Element = HTMLElement>(selector: string, within: ParentNode = document): T {
  const found = within.querySelector<T>(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

export function cookie(name: string): string {
  const part = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return part ? decodeURIComponent(part.slice(name.length + 1)) : "";
}

// A request of our own page proves itself by repeating its cookie.
export function proof(): Record<string, string> {
  return { "X-CSRFToken": cookie(document.documentElement.dataset.proof ?? "csrftoken") };
}

export async function ask<T>(method: string, address: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(address, {
      method,
      headers: { ...proof(), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw unreachable();
  }
  if (!answer.ok) throw problemFrom(answer.status, await answer.text());
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export function unreachable(): Problem {
  return new Problem(0, "unreachable", text("unreachable"));
}

export function problemFrom(status: number, body: string): Problem {
  if (status === 401) return new Problem(status, "not_signed_in", text("signed out"), text("sign in again"));
  try {
    const told = JSON.parse(body);
    return new Problem(status, told.code ?? "", told.detail ?? told.title, told.hint ?? "");
  } catch {
    return new Problem(status, "", `${text("failed")} (${status})`);
  }
}

// A text of the page in the reader's language; templates/texts.html holds them all.
export function text(name: string, values: Record<string, string | number> = {}): string {
  const kept = document.getElementById("texts");
  const found: string = (kept ? JSON.parse(kept.textContent ?? "{}") : {})[name] ?? name;
  return found.replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
}

export type Tone = "success" | "error" | "info";

// A short notice in the corner; an error stays until it is closed.
export function notify(tone: Tone, words: string, hint = ""): void {
  const drawn = find<HTMLTemplateElement>("#notice").content.cloneNode(true) as DocumentFragment;
  const notice = find(".alert", drawn);
  notice.classList.add(`alert-${tone}`);
  notice.setAttribute("role", tone === "error" ? "alert" : "status");
  find("[data-words]", notice).textContent = words;
  find("[data-hint]", notice).textContent = hint;
  find("#notices").append(drawn);
  if (tone !== "error") setTimeout(() => notice.remove(), 6000);
}

export function complain(error: unknown): void {
  if (error instanceof Problem) notify("error", error.message, error.hint);
  else {
    console.error(error);
    notify("error", text("failed"));
  }
}

export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// A guess is told in whole units: `45 s`, `4 min`, `2 h 10 min`.
export function roughly(seconds: number): string {
  if (seconds < 59.5) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function fileSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let [size, step] = [bytes / 1024, 0];
  for (; Number(size.toFixed(1)) >= 1024 && step < 3; step++) size /= 1024;
  return `${size.toFixed(1)} ${units[step]}`;
}
