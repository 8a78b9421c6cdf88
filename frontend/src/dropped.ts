// What somebody dropped or chose, as files with their paths. Folders are walked here; what is in them is told in folders.ts.
import { isLitter, type Filed } from "./folders";

export interface Gathered {
  files: Filed[];
  // Paths that the browser could not read.
  unreadable: string[];
}

// The entries of a drop; they must be taken before the event is over.
export function entriesOf(transfer: DataTransfer): (FileSystemEntry | File)[] {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  return items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter((found) => found !== null);
}

export async function gather(entries: (FileSystemEntry | File)[], told: (num: number) => void): Promise<Gathered> {
  const gathered: Gathered = { files: [], unreadable: [] };
  for (const entry of entries) await walk(entry, "", gathered, told);
  return gathered;
}

// The files of an `<input>`; a chosen folder gives each its path.
export function chosen(files: FileList): Filed[] {
  return [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file })).filter(({ name }) => !isLitter(name));
}

async function walk(entry: FileSystemEntry | File, above: string, into: Gathered, told: (num: number) => void): Promise<void> {
  const name = above + entry.name;
  if (isLitter(entry.name)) return;
  try {
    if (entry instanceof File) into.files.push({ name, file: entry });
    else if (entry.isFile) into.files.push({ name, file: await fileOf(entry as FileSystemFileEntry) });
    else await walkFolder(entry as FileSystemDirectoryEntry, `${name}/`, into, told);
  } catch {
    into.unreadable.push(name);
  }
}

async function walkFolder(folder: FileSystemDirectoryEntry, path: string, into: Gathered, told: (num: number) => void): Promise<void> {
  const reader = folder.createReader();
  // A reader gives its entries in parts; an empty part is the end.
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    await Promise.all(part.map((entry) => walk(entry, path, into, told)));
    told(into.files.length);
  }
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
