// What was typed into a form outlives a session that has ended meanwhile: it is back after the person has signed in again.
import { notify, text } from "./page";

const KEY = "typed";
const NEW_EACH_TIME = "csrfmiddlewaretoken";

interface Typed {
  path: string;
  fields: [string, string][];
  hasSignedIn?: boolean;
}

export function keepTyped(): void {
  const typed: Typed | null = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (typed && document.querySelector("[data-sign-in]")) sessionStorage.setItem(KEY, JSON.stringify({ ...typed, hasSignedIn: true }));
  else sessionStorage.removeItem(KEY);

  const form = document.querySelector<HTMLFormElement>("form[data-keep]");
  if (!form) return;
  if (typed?.hasSignedIn && typed.path === location.pathname) {
    put(form, new Map(typed.fields));
    notify("info", text("typed is back"));
  }
  form.addEventListener("submit", () => {
    const fields = [...new FormData(form)].filter(([name, value]) => name !== NEW_EACH_TIME && typeof value === "string");
    sessionStorage.setItem(KEY, JSON.stringify({ path: location.pathname, fields }));
  });
}

function put(form: HTMLFormElement, fields: Map<string, string>): void {
  for (const control of form.elements) {
    if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = fields.has(control.name);
    else if ((control instanceof HTMLInputElement || control instanceof HTMLSelectElement) && fields.has(control.name)) control.value = fields.get(control.name)!;
  }
}
