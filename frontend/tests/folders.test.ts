import { expect, test } from "vitest";
import { isArchive, isLitter, isNamedLikeSplit, look, nameOf, tally } from "../src/folders";

function file(name: string, type = ""): { name: string; file: File } {
  return { name, file: new File(["x"], name.split("/").at(-1) ?? "", { type }) };
}

test.each([
  ["class folders", ["daisy/1.png", "daisy/2.png", "tulip/1.jpg"], { numPictures: 3, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["a folder around the class folders", ["flowers/daisy/1.png", "flowers/tulip/1.png"], { numPictures: 2, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["three folders around them", ["a/b/c/daisy/1.png", "a/b/c/tulip/1.png"], { numPictures: 2, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["no folder", ["1.png", "2.png"], { numPictures: 2, classes: [], numStrays: 2 }],
  ["one class folder", ["daisy/1.png", "daisy/2.png"], { numPictures: 2, classes: ["daisy"], numStrays: 0 }],
  ["a picture beside the class folders", ["flowers/daisy/1.png", "flowers/tulip/1.png", "flowers/me.png"], { numPictures: 2, classes: ["daisy", "tulip"], numStrays: 1 }],
  ["folders inside a class", ["daisy/left/1.png", "daisy/right/2.png", "tulip/1.png"], { numPictures: 3, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["texts beside the pictures", ["daisy/1.png", "tulip/1.png", "readme.txt", "notes/x.csv"], { numPictures: 2, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["names without an ending", ["daisy/1", "tulip/2"], { numPictures: 2, classes: ["daisy", "tulip"], numStrays: 0 }],
  ["nothing", [], { numPictures: 0, classes: [], numStrays: 0 }],
])("%s", (_, names, expected) => {
  expect(tally(names)).toEqual(expected);
});

test("a hundred thousand names are told in a moment", () => {
  const names = Array.from({ length: 100_000 }, (_, at) => `set/class ${at % 1000}/${at}.png`);
  const began = performance.now();
  expect(tally(names).classes).toHaveLength(1000);
  expect(performance.now() - began).toBeLessThan(3000);
});

test("pictures are sent, sorted; videos and texts are only counted", () => {
  const contents = look([file("b/2.HEIC"), file("film.mp4", "video/mp4"), file("a/1.jpeg"), file("list.csv", "text/csv"), file("b/raw")]);
  expect(contents.files.map(({ name }) => name)).toEqual(["a/1.jpeg", "b/2.HEIC", "b/raw"]);
  expect(contents.numOthers).toBe(2);
});

test("what systems leave behind is litter, and nothing else", () => {
  for (const name of [".DS_Store", "a/.git/config", "__MACOSX/a/1.png", "a/Thumbs.db", "a/desktop.ini"]) expect(isLitter(name)).toBe(true);
  for (const name of ["a/1.png", "a.b/1.png", "thumbs/1.png"]) expect(isLitter(name)).toBe(false);
});

test("archives are told by their names, whose stems name the dataset", () => {
  for (const [name, stem] of [["flowers.zip", "flowers"], ["Fl.2024.TAR.GZ", "Fl.2024"], ["x.tbz2", "x"], [".zip", "Pictures"]]) {
    expect(isArchive(name)).toBe(true);
    expect(nameOf(name)).toBe(stem);
  }
  expect(isArchive("zip.png")).toBe(false);
  expect(nameOf("my pictures")).toBe("my pictures");
});

test("folders that are named like splits are noticed only where all are", () => {
  expect(isNamedLikeSplit(["Train", "val", "test"])).toBe(true);
  expect(isNamedLikeSplit(["train", "daisy"])).toBe(false);
  expect(isNamedLikeSplit([])).toBe(false);
});
