// A tar file as a Blob that only points at its files, so that nothing is read before it is sent.
// After POSIX ustar, with pax headers for names and sizes that do not fit.
import type { Filed } from "./folders";

const BLOCK = 512;
const MOST_OCTAL = 0o77777777777;
const encoder = new TextEncoder();
type Bytes = Uint8Array<ArrayBuffer>;

export interface Packed {
  blob: Blob;
  // Where each file ends inside the tar: tells which one is on its way.
  ends: number[];
}

export function pack(files: Filed[]): Packed {
  const parts: BlobPart[] = [];
  const ends: number[] = [];
  let size = 0;
  const add = (part: Bytes | File, bytes: number) => {
    parts.push(part);
    size += bytes;
  };
  for (const { name, file } of files) {
    for (const block of headers(name, file)) add(block, block.length);
    add(file, file.size);
    add(padding(file.size), padding(file.size).length);
    ends.push(size);
  }
  add(new Uint8Array(2 * BLOCK), 2 * BLOCK);
  return { blob: new Blob(parts, { type: "application/x-tar" }), ends };
}

function headers(name: string, file: File): Bytes[] {
  const seconds = Math.max(0, Math.floor(file.lastModified / 1000));
  const encoded = encoder.encode(name);
  // A name beyond ASCII is longer in bytes than in characters.
  const isPlain = encoded.length === name.length && encoded.length <= 100;
  const own = header(encoded, file.size > MOST_OCTAL ? 0 : file.size, seconds, "0");
  const more = (isPlain ? "" : record("path", name)) + (file.size > MOST_OCTAL ? record("size", String(file.size)) : "");
  if (!more) return [own];
  const content = encoder.encode(more);
  return [header(encoder.encode("pax"), content.length, seconds, "x"), content, padding(content.length), own];
}

function header(name: Bytes, size: number, seconds: number, kind: string): Bytes {
  const block = new Uint8Array(BLOCK);
  const write = (words: string, at: number) => block.set(encoder.encode(words), at);
  block.set(name.subarray(0, 100));
  write(octal(0o644, 8) + octal(0, 8) + octal(0, 8) + octal(size, 12) + octal(seconds, 12), 100);
  // The checksum counts its own field as spaces.
  write(" ".repeat(8) + kind, 148);
  write("ustar\x0000", 257);
  write(octal(block.reduce((sum, byte) => sum + byte, 0), 7) + " ", 148);
  return block;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, "0")}\0`;
}

// One pax record; the number at its beginning counts its own digits too.
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = encoder.encode(rest).length;
  let length = bytes;
  while (length !== bytes + String(length).length) length = bytes + String(length).length;
  return length + rest;
}

function padding(size: number): Bytes {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}
