// Names are read from zips that Python has written.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { namesInZip } from "../src/zip";

const PYTHON = process.env.PYTHON ?? "python3";
const WRITE = `
import io, json, sys, zipfile
asked = json.load(sys.stdin)
held = io.BytesIO()
with zipfile.ZipFile(held, "w") as archive:
    archive.comment = asked["comment"].encode()
    for name in asked["names"]:
        archive.writestr(name, b"x" * asked["bytes"])
sys.stdout.buffer.write(held.getvalue())
`;

function written(names: string[], { comment = "", bytes = 10 } = {}): Uint8Array<ArrayBuffer> {
  const input = JSON.stringify({ names, comment, bytes });
  return new Uint8Array(execFileSync(PYTHON, ["-c", WRITE], { input, maxBuffer: 64 << 20 }));
}

test("the names of all files, without the folders", async () => {
  const names = ["daisy/1.png", "daisy/", "tulip/ü 🌷.png", "a".repeat(300)];
  expect(await namesInZip(new Blob([written(names)]))).toEqual(names.filter((name) => !name.endsWith("/")));
});

test("a zip without files holds none", async () => {
  expect(await namesInZip(new Blob([written([])]))).toEqual([]);
});

test("a comment at the end hides nothing, even one of the largest size", async () => {
  for (const comment of ["made by hand", "c".repeat(65535)])
    expect(await namesInZip(new Blob([written(["1.png"], { comment })]))).toEqual(["1.png"]);
});

test("a zip behind something else is read from its end", async () => {
  expect(await namesInZip(new Blob(["#!/bin/sh\n", written(["1.png"])]))).toEqual(["1.png"]);
});

test("a large zip is read from its end alone", async () => {
  const whole = new Blob([written(["1.png", "2.png"], { bytes: 500_000 })]);
  const slices: number[] = [];
  const slice = whole.slice.bind(whole);
  whole.slice = (from = 0, to = whole.size) => {
    slices.push(to - from);
    return slice(from, to);
  };
  expect(await namesInZip(whole)).toEqual(["1.png", "2.png"]);
  expect(Math.max(...slices)).toBeLessThan(70_000);
});

test("backslashes of old Windows programs are folders", async () => {
  const zip = written(["daisy/1.png"]);
  for (const [at, byte] of zip.entries()) if (byte === "/".charCodeAt(0)) zip[at] = "\\".charCodeAt(0);
  expect(await namesInZip(new Blob([zip]))).toEqual(["daisy/1.png"]);
});

test("what is no zip, is cut off or lies about its length is left to the server", async () => {
  const zip = written(["daisy/1.png", "tulip/2.png"]);
  const lying = zip.slice();
  new DataView(lying.buffer).setUint32(lying.length - 22 + 12, 0xffffffff, true);
  const damaged = zip.slice();
  damaged[damaged.length - 22 - 60] ^= 0xff;
  const unsure = [new Uint8Array(), zip.slice(0, -30), zip.slice(0, 20), lying];
  for (const bytes of unsure) expect(await namesInZip(new Blob([bytes]))).toBeNull();
  // Whatever stands in it, it ends, and with names or none.
  for (let at = 0; at < zip.length; at++) {
    const broken = zip.slice();
    broken[at] ^= 0xff;
    const names = await namesInZip(new Blob([broken]));
    expect(names === null || names.length <= 2).toBe(true);
  }
});
