// What `pack` writes is read back by the system's own tar.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Filed } from "../src/folders";
import { pack } from "../src/tar";

let folder = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tar-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function filed(name: string, content: string | Uint8Array<ArrayBuffer>, lastModified = 0): Filed {
  return { name, file: new File([content], name.split("/").at(-1) ?? "", { lastModified }) };
}

async function unpack(files: Filed[]): Promise<(name: string) => Buffer> {
  writeFileSync(join(folder, "packed.tar"), Buffer.from(await pack(files).blob.arrayBuffer()));
  execFileSync("tar", ["-xf", "packed.tar"], { cwd: folder });
  return (name) => readFileSync(join(folder, name));
}

test("files of every length around a block come back whole", async () => {
  const contents = [0, 1, 511, 512, 513, 1024, 100_000].map((length) => Uint8Array.from({ length }, (_, at) => at % 251));
  const read = await unpack(contents.map((content, place) => filed(`a/${place}.png`, content)));
  for (const [place, content] of contents.entries()) expect(read(`a/${place}.png`).equals(Buffer.from(content))).toBe(true);
});

test.each([
  ["a plain name", "daisy/1.jpg"],
  ["a name of exactly 100 bytes", `${"n".repeat(96)}.png`],
  ["a name of 101 bytes", `${"n".repeat(97)}.png`],
  ["deep folders", `${Array.from({ length: 12 }, () => "a-long-folder-name").join("/")}/1.png`],
  ["umlauts", "Gänseblümchen/größe.png"],
  ["names of other scripts", "雏菊/ромашка 🌼.png"],
  ["blanks and quotes", "it's a \"class\"/my  picture.png"],
  ["a newline", "odd/two\nlines.png"],
])("%s comes back", async (_, name) => {
  const read = await unpack([filed(name, "content of it"), filed("after.png", "and what follows")]);
  expect(read(name).toString()).toBe("content of it");
  expect(read("after.png").toString()).toBe("and what follows");
});

test("the time of a file is kept, and a time before 1970 is no harm", async () => {
  const files = [filed("new.png", "x", 1_700_000_000_000), filed("old.png", "x", -5_000)];
  await unpack(files);
  const told = execFileSync("tar", ["--utc", "--full-time", "-tvf", "packed.tar"], { cwd: folder }).toString();
  expect(told).toContain("2023-11-14 22:13:20 new.png");
  expect(told).toContain("1970-01-01 00:00:00 old.png");
});

test("the ends tell which file is on its way", () => {
  const { blob, ends } = pack([filed("a.png", "x".repeat(600)), filed("b.png", ""), filed("ü.png", "x")]);
  // A header and two blocks; a header; a pax header, its content, a header and a block.
  expect(ends).toEqual([1536, 2048, 2048 + 4 * 512]);
  expect(blob.size).toBe(4096 + 1024);
});

test("a size beyond what octal digits hold is told in a pax record", () => {
  const size = 9 * 2 ** 30;
  const huge = { size, lastModified: 0, slice: () => new Blob() } as unknown as File;
  const written: BlobPart[] = [];
  const Real = globalThis.Blob;
  globalThis.Blob = class extends Real {
    constructor(parts: BlobPart[] = []) {
      super([]);
      written.push(...parts);
    }
  };
  try {
    pack([{ name: "huge.tif", file: huge }]);
  } finally {
    globalThis.Blob = Real;
  }
  expect(new TextDecoder().decode(written[1] as Uint8Array<ArrayBuffer>)).toBe(`19 size=${size}\n`);
});

test("nothing packed is an empty tar", async () => {
  await unpack([]);
  expect(execFileSync("tar", ["-tf", "packed.tar"], { cwd: folder }).toString()).toBe("");
});
