// Times on a page: the moment in the reader's own zone, and ages that go on while the page stays open.
import { text } from "./page";

const AGAIN_SECONDS = 30;
const LANGUAGE = document.documentElement.lang || "en";
const MOMENT = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const AGE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "always" });

// In the words of the template tag `age`.
export function age(seconds: number): string {
  if (seconds < 10) return text("just now");
  if (seconds < 60) return text("less than a minute ago");
  if (seconds < 3600) return AGE.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return AGE.format(-Math.floor(seconds / 3600), "hour");
  return AGE.format(-Math.floor(seconds / 86400), "day");
}

export function showMoments(within: ParentNode): void {
  for (const element of within.querySelectorAll<HTMLTimeElement>("time[datetime]")) element.title = MOMENT.format(new Date(element.dateTime));
}

// The server's clock counts, which told the time at which the page was drawn.
export function keepAges(): void {
  const ahead = Date.now() - 1000 * Number(document.body.dataset.drawnAt ?? Date.now() / 1000);
  setInterval(() => {
    for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-age]")) {
      const words = age((Date.now() - ahead - Date.parse(element.dateTime)) / 1000);
      if (element.textContent !== words) element.textContent = words;
    }
  }, AGAIN_SECONDS * 1000);
}
