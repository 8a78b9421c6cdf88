// The same ages as the template tag tells: tests/web/test_words.py.
import { expect, test, vi } from "vitest";

vi.stubGlobal("document", { documentElement: { lang: "en" }, getElementById: () => null });
const { age } = await import("../src/moments");
const [MINUTE, HOUR, DAY] = [60, 3600, 86400];

test.each([
  [0, "just now"], [9, "just now"], [30, "less than a minute ago"], [MINUTE + 1, "1 minute ago"],
  [59 * MINUTE, "59 minutes ago"], [HOUR + 1, "1 hour ago"], [23 * HOUR, "23 hours ago"], [DAY + 1, "1 day ago"],
  [400 * DAY, "400 days ago"], [-30, "just now"],
])("%d seconds", (seconds, told) => {
  expect(age(seconds)).toBe(told);
});
