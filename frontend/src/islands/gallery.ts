// The large picture: opens in a dialog from the grid of thumbnails, and the arrow keys go to the next one.
import { find } from "../page";

export function mount(element: HTMLElement): void {
  const dialog = element as HTMLDialogElement;
  let shown = "";

  // Asked anew each time, because the grid may have grown or reloaded behind the dialog.
  const all = () => [...document.querySelectorAll<HTMLAnchorElement>("[data-picture]")];
  const place = () => all().findIndex((link) => link.dataset.picture === shown);

  const show = (link: HTMLAnchorElement) => {
    shown = link.dataset.picture!;
    draw(dialog, link);
    const links = all();
    const at = place();
    // Not `disabled`: the focus would leave the dialog, and the arrow keys with it.
    find("[data-previous]", dialog).ariaDisabled = String(at <= 0);
    find("[data-next]", dialog).ariaDisabled = String(at >= links.length - 1);
    if (!dialog.open) dialog.showModal();
  };
  const step = (by: number) => {
    const next = all()[place() + by];
    if (next) show(next);
  };

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("[data-picture]") : null;
    // A click that wants a new tab gets one.
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(link);
  });
  find("[data-previous]", dialog).addEventListener("click", () => step(-1));
  find("[data-next]", dialog).addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => all()[place()]?.focus());
}

function draw(dialog: HTMLDialogElement, link: HTMLAnchorElement): void {
  const picture = find<HTMLImageElement>("[data-large]", dialog);
  const small = find<HTMLImageElement>("img", link);
  const note = find("[data-unshown]", dialog);
  note.hidden = true;
  // Browsers cannot show each format that is taken, such as HEIC and TIFF; the thumbnail is always one of theirs.
  picture.onerror = () => {
    picture.onerror = null;
    picture.src = small.src;
    note.hidden = false;
  };
  picture.classList.toggle("[image-rendering:pixelated]", Number(link.dataset.width) < 64);
  picture.alt = small.alt;
  picture.src = link.href;
  find("[data-name]", dialog).textContent = small.alt;
  find("[data-about]", dialog).textContent = link.dataset.about ?? "";
  const original = find<HTMLAnchorElement>("[data-original]", dialog);
  original.href = link.href;
  original.download = small.alt.split("/").at(-1) ?? "";
}
