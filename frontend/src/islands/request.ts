// A form that asks the REST API: `data-method`, `data-address`, its fields as the body. A refusal is told inside it.
// Afterwards the page of `data-then` is opened ({id} is that of what was made), or with "stay" its live parts are drawn
// anew, or else the whole page. With `data-at-once` a choice is sent as soon as it is made.
import { ask, find, notify, Problem, text } from "../page";

const STAYED_MS = 600;

export function mount(form: HTMLElement): void {
  if (!(form instanceof HTMLFormElement)) throw new Error("a request is a form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(form);
  });
  // By keyboard a choice passes over those before it: only the one that somebody stays at is sent.
  let staying = 0;
  if ("atOnce" in form.dataset)
    form.addEventListener("change", () => {
      clearTimeout(staying);
      staying = window.setTimeout(() => void send(form), STAYED_MS);
    });
}

async function send(form: HTMLFormElement): Promise<void> {
  const { method = "POST", address = "", then } = form.dataset;
  const fields = Object.fromEntries(new FormData(form));
  const button = form.querySelector<HTMLButtonElement>("button:not([type=button])");
  if (button) button.disabled = true;
  refuse(form, "", "");
  try {
    const made = await ask<{ id?: string } | undefined>(method, address, Object.keys(fields).length ? fields : undefined);
    if (then === "stay") stay(form);
    else if (then) location.assign(then.replace("{id}", made?.id ?? ""));
    else location.reload();
  } catch (error) {
    if (button) button.disabled = false;
    // What was not taken is not shown as if it were.
    if ("atOnce" in form.dataset) form.reset();
    if (error instanceof Problem) refuse(form, error.message, error.hint);
    else refuse(form, text("failed"), "");
  }
}

function stay(form: HTMLFormElement): void {
  document.body.dispatchEvent(new CustomEvent("moved"));
  if (!("atOnce" in form.dataset)) return;
  notify("success", text("saved"));
  for (const option of form.querySelectorAll("option")) option.defaultSelected = option.selected;
}

function refuse(form: HTMLFormElement, words: string, hint: string): void {
  const refusal = find("[data-refusal]", form);
  refusal.hidden = !words;
  find("[data-words]", refusal).textContent = words;
  find("[data-hint]", refusal).textContent = hint;
}
