import { expect, test } from "vitest";
import { marks } from "../src/curve";

test.each([
  ["before the second epoch", [1, 15, 9, 3], [5, 10, 15]],
  ["before any epoch is known", [1, 4, 0, 3], [1, 2, 3, 4]],
  ["some epochs", [1, 46, 9, 6], [9, 18, 27, 36, 45]],
  ["many epochs", [1, 2700, 9, 4], [720, 1440, 2160]],
  ["one step", [1, 1, 0, 4], [1]],
  ["an epoch of one step", [1, 30, 1, 4], [8, 16, 24]],
  ["a narrow chart", [1, 144, 9, 3], [54, 108]],
] as [string, [number, number, number, number], number[]][])("marks of %s", (_, [first, last, perEpoch, most], told) => {
  expect(marks(first, last, perEpoch, most)).toEqual(told);
});
