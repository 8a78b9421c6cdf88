// What a folder holds, told before it is sent: its pictures and their classes.
// The server has the last word and decides by content; its rules stand in pictures/folders.py.

export interface Filed {
  // The path below what was dropped, with `/`.
  name: string;
  file: File;
}

// What names alone tell.
export interface Tally {
  // Those in class folders, or all where there is no folder.
  numPictures: number;
  classes: string[];
  // Pictures in no class folder, which the server leaves out.
  numStrays: number;
}

export interface Contents extends Tally {
  // Everything that is sent.
  files: Filed[];
  // Videos, texts and the like, which are not sent.
  numOthers: number;
}

const PICTURE = /\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|p[pgb]m|heic|heif|avif)$/i;
const ARCHIVE = /\.(zip|tar|tgz|tbz2?|tar\.gz|tar\.bz2)$/i;
const LITTER = new Set(["__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db"]);
const SPLITS = new Set(["train", "training", "val", "valid", "validation", "test", "testing"]);

export function isArchive(name: string): boolean {
  return ARCHIVE.test(name);
}

// What systems leave in folders: dot files, thumbnail caches.
export function isLitter(name: string): boolean {
  return name.split("/").some((part) => part.startsWith(".") || LITTER.has(part.toLowerCase()));
}

export function nameOf(path: string): string {
  return path.replace(ARCHIVE, "").trim() || "Pictures";
}

export function isNamedLikeSplit(classes: string[]): boolean {
  return classes.length > 0 && classes.every((name) => SPLITS.has(name.toLowerCase()));
}

export function look(all: Filed[]): Contents {
  const files = all.filter(({ name, file }) => isPerhapsPicture(name, file)).sort((one, other) => (one.name < other.name ? -1 : 1));
  return { files, numOthers: all.length - files.length, ...tally(files.map(({ name }) => name)) };
}

export function tally(names: string[]): Tally {
  const named = names.filter((name) => PICTURE.test(name));
  // Files that are not named like pictures have no say, unless there are no others.
  const pictures = named.length ? named : names;
  const folders = pictures.map((name) => name.split("/").slice(0, -1));
  const depth = wrappingDepth(folders);
  const classes = [...new Set(folders.filter((folder) => folder.length > depth).map((folder) => folder[depth]))].sort();
  const numStrays = folders.filter((folder) => folder.length <= depth).length;
  return { numPictures: pictures.length - (classes.length ? numStrays : 0), classes, numStrays };
}

// By the browser's guess from the name: what it does not know may be a picture without an ending.
function isPerhapsPicture(name: string, file: File): boolean {
  return PICTURE.test(name) || file.type === "" || file.type.startsWith("image/");
}

// How many folders at the top only wrap the class folders; one with pictures of its own wraps only two or more.
function wrappingDepth(folders: string[][]): number {
  let depth = 0;
  for (;;) {
    const here = new Set(folders.filter((folder) => folder.length > depth).map((folder) => folder[depth]));
    const below = new Set(folders.filter((folder) => folder.length > depth + 1).map((folder) => folder[depth + 1]));
    const hasOwn = folders.some((folder) => folder.length === depth + 1);
    if (here.size !== 1 || below.size < (hasOwn ? 2 : 1)) return depth;
    depth += 1;
  }
}
