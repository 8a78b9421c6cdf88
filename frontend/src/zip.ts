// The names in a zip, read from its end in the browser, so that what is in it can be told before it is sent.
// After PKWARE's APPNOTE; a zip beyond four gigabytes, or a damaged one, is left to the server.

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const END_BYTES = 22;
const MOST_COMMENT_BYTES = 65535;
const MOST_DIRECTORY_BYTES = 64 << 20;

// The paths of all files, or `null` where this cannot tell.
export async function namesInZip(file: Blob): Promise<string[] | null> {
  const tail = await viewOf(file.slice(Math.max(0, file.size - END_BYTES - MOST_COMMENT_BYTES)));
  const end = lastEnd(tail);
  if (end < 0) return null;
  const bytes = tail.getUint32(end + 12, true);
  const until = file.size - tail.byteLength + end;
  if (bytes > Math.min(MOST_DIRECTORY_BYTES, until)) return null;
  return namesIn(await viewOf(file.slice(until - bytes, until)));
}

async function viewOf(part: Blob): Promise<DataView> {
  return new DataView(await part.arrayBuffer());
}

function lastEnd(tail: DataView): number {
  for (let at = tail.byteLength - END_BYTES; at >= 0; at--) if (tail.getUint32(at, true) === END) return at;
  return -1;
}

function namesIn(directory: DataView): string[] | null {
  const names: string[] = [];
  let at = 0;
  while (at + 46 <= directory.byteLength) {
    if (directory.getUint32(at, true) !== ENTRY) return null;
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((offset) => directory.getUint16(at + offset, true));
    if (at + 46 + nameBytes > directory.byteLength) return null;
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, nameBytes)).replaceAll("\\", "/");
    if (!name.endsWith("/")) names.push(name);
    at += 46 + nameBytes + extraBytes + commentBytes;
  }
  return names;
}
