// Small states of the pages' own: menus, the theme, copying, dialogs. Alpine's CSP build wants them named here.
import type AlpineType from "alpinejs";
import { notify, text } from "./page";

const THEMES = ["", "day", "night"];

export function registerComponents(Alpine: typeof AlpineType): void {
  Alpine.data("theme", () => ({
    chosen: document.documentElement.dataset.theme ?? "",
    get isSystem(): boolean {
      return this.chosen === "";
    },
    get isDay(): boolean {
      return this.chosen === "day";
    },
    get isNight(): boolean {
      return this.chosen === "night";
    },
    // The server reads the cookie, so that the next page is drawn right from its first moment.
    next(): void {
      this.chosen = THEMES[(THEMES.indexOf(this.chosen) + 1) % THEMES.length];
      if (this.chosen) document.documentElement.dataset.theme = this.chosen;
      else delete document.documentElement.dataset.theme;
      document.cookie = `theme=${this.chosen}; path=/; max-age=31536000; samesite=lax`;
    },
  }));

  Alpine.data("copy", () => ({
    async copy(): Promise<void> {
      const words = (this as unknown as { $root: HTMLElement }).$root.querySelector("code, input")!;
      // Without HTTPS, or where it was forbidden, a browser gives no clipboard, but still copies what is selected.
      const said = words instanceof HTMLInputElement ? words.value : (words.textContent ?? "");
      const isDone = await (navigator.clipboard?.writeText(said).then(() => true, () => false) ?? false);
      if (!isDone) {
        if (words instanceof HTMLInputElement) words.select();
        else getSelection()?.selectAllChildren(words);
        document.execCommand("copy");
      }
      notify("success", text("copied"));
    },
  }));

  // One of several panes, such as the same request in three languages.
  Alpine.data("tabs", () => ({
    shown: "",
    init(): void {
      this.shown = (this as unknown as { $root: HTMLElement }).$root.dataset.first ?? "";
    },
    choose(event: Event): void {
      this.shown = (event.currentTarget as HTMLElement).dataset.pane ?? "";
    },
    isShown(): boolean {
      return (this as unknown as { $el: HTMLElement }).$el.dataset.pane === this.shown;
    },
    selected(): string {
      return this.isShown() ? "true" : "false";
    },
  }));

  Alpine.data("dialog", () => ({
    open(): void {
      (this as unknown as { $refs: { dialog: HTMLDialogElement } }).$refs.dialog.showModal();
    },
    close(): void {
      (this as unknown as { $refs: { dialog: HTMLDialogElement } }).$refs.dialog.close();
    },
  }));

  Alpine.data("notice", () => ({
    close(): void {
      (this as unknown as { $root: HTMLElement }).$root.remove();
    },
  }));
}
