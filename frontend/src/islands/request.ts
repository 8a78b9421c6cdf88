// A form that asks the REST API: `data-method`, `data-address`, its fields as the body. A refusal is told inside it.
// Afterwards the page of `data-then` is opened, or with "stay" its live parts are drawn anew, or else the whole page.
import { ask, find, Problem, text } from "../page";

export function mount(form: HTMLElement): void {
  if (!(form instanceof HTMLFormElement)) throw new Error("a request is a form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send(form);
  });
}

async function send(form: HTMLFormElement): Promise<void> {
  const { method = "POST", address = "", then } = form.dataset;
  const fields = Object.fromEntries(new FormData(form));
  const button = find<HTMLButtonElement>("button:not([type=button])", form);
  button.disabled = true;
  refuse(form, "", "");
  try {
    await ask(method, address, Object.keys(fields).length ? fields : undefined);
    if (then === "stay") document.body.dispatchEvent(new CustomEvent("moved"));
    else if (then) location.assign(then);
    else location.reload();
  } catch (error) {
    button.disabled = false;
    if (error instanceof Problem) refuse(form, error.message, error.hint);
    else refuse(form, text("failed"), "");
  }
}

function refuse(form: HTMLFormElement, words: string, hint: string): void {
  const refusal = find("[data-refusal]", form);
  refusal.hidden = !words;
  find("[data-words]", refusal).textContent = words;
  find("[data-hint]", refusal).textContent = hint;
}
