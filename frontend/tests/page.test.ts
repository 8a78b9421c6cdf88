// The same figures as the templates' filters tell: tests/web/test_words.py.
import { expect, test } from "vitest";
import { duration, fileSize, roughly } from "../src/page";

test.each([
  [0, "0.0 s"], [9.94, "9.9 s"], [9.96, "10 s"], [59.4, "59 s"], [59.6, "1 min 0 s"], [75.2, "1 min 15 s"],
  [119.7, "2 min 0 s"], [3599.9, "1 h 0 min"], [3660, "1 h 1 min"], [90000, "25 h 0 min"],
])("%d seconds", (seconds, told) => {
  expect(duration(seconds)).toBe(told);
});

test.each([
  [0, "1 s"], [45.4, "45 s"], [59.4, "59 s"], [59.6, "1 min"], [240, "4 min"], [3569, "59 min"], [3571, "1 h 0 min"], [7800, "2 h 10 min"],
])("about %d seconds", (seconds, told) => {
  expect(roughly(seconds)).toBe(told);
});

test.each([
  [0, "0 B"], [1023, "1023 B"], [1024, "1.0 KiB"], [1536, "1.5 KiB"], [2 ** 20 - 1, "1.0 MiB"], [2 ** 20, "1.0 MiB"],
  [5 * 2 ** 30, "5.0 GiB"], [3 * 2 ** 50, "3072.0 TiB"],
])("%d bytes", (bytes, told) => {
  expect(fileSize(bytes)).toBe(told);
});
