// The one script of all pages: htmx and Alpine, and the islands that a page names by `data-island`.
import "./styles.css";
import htmx from "htmx.org";
import Alpine from "@alpinejs/csp";
import { registerComponents } from "./components";
import { proof, notify, text } from "./page";
import { watchWorkspace } from "./live";
import { keepAges, showMoments } from "./moments";
import { keepTyped } from "./typed";

// A strict content security policy: nothing is evaluated, no style is written into the page.
htmx.config.allowEval = false;
htmx.config.includeIndicatorStyles = false;
htmx.config.historyCacheSize = 0;
document.addEventListener("htmx:configRequest", (event) => Object.assign((event as CustomEvent).detail.headers, proof()));
document.addEventListener("htmx:sendError", () => notify("error", text("unreachable")));
document.addEventListener("htmx:responseError", () => notify("error", text("failed")));

// A file that misses its place would make the browser leave the page for it.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());

type Island = { mount(element: HTMLElement): void };
const ISLANDS: Record<string, () => Promise<Island>> = {
  spark: () => import("./islands/spark"),
  upload: () => import("./islands/upload"),
  request: () => import("./islands/request"),
  gallery: () => import("./islands/gallery"),
  training: () => import("./islands/training"),
  predict: () => import("./islands/predict"),
};

// After an upgrade an open page names files that are gone: it is drawn anew, once.
window.addEventListener("vite:preloadError", () => {
  if (performance.now() > 5000) location.reload();
});

function mountIslands(within: ParentNode): void {
  for (const element of within.querySelectorAll<HTMLElement>("[data-island]:not([data-mounted])")) {
    element.dataset.mounted = "";
    ISLANDS[element.dataset.island ?? ""]?.().then((island) => island.mount(element));
  }
}

registerComponents(Alpine);
Alpine.start();
document.addEventListener("htmx:load", (event) => {
  const element = (event as CustomEvent).detail.elt as HTMLElement;
  mountIslands(element.parentElement ?? element);
  showMoments(element);
});
mountIslands(document);
showMoments(document);
keepAges();
keepTyped();
watchWorkspace();
