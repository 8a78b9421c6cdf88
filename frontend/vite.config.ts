// Builds the scripts and styles of the pages into the Python package, with the content's hash in each name.
import { readFileSync } from "node:fs";
import tailwindcss from "@tailwindcss/vite";
import { defineConfig, type Plugin } from "vite";
import { ICONS } from "./src/icons";

// One file with all icons: each page names those that it shows by `<use href="...#name">`.
function icons(): Plugin {
  const symbol = (name: string): string => {
    const drawn = readFileSync(new URL(`./node_modules/lucide-static/icons/${name}.svg`, import.meta.url), "utf8");
    const paths = drawn.slice(drawn.indexOf(">", drawn.indexOf("<svg")) + 1, drawn.lastIndexOf("</svg>"));
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round">${paths.replace(/\s+/g, " ")}</symbol>`;
  };
  return {
    name: "icons",
    buildStart() {
      const source = `<svg xmlns="http://www.w3.org/2000/svg">${ICONS.map(symbol).join("")}</svg>`;
      this.emitFile({ type: "asset", name: "icons.svg", originalFileName: "icons.svg", source });
      const mark = readFileSync(new URL("./src/mark.svg", import.meta.url), "utf8");
      this.emitFile({ type: "asset", name: "mark.svg", originalFileName: "mark.svg", source: mark });
    },
  };
}

export default defineConfig({
  base: "/assets/",
  plugins: [tailwindcss(), icons()],
  publicDir: false,
  build: {
    outDir: "../src/trainshed/server/web/assets",
    emptyOutDir: true,
    manifest: "manifest.json",
    target: "es2022",
    // Everything comes from a file: a strict content security policy allows nothing inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: "src/main.ts", output: { entryFileNames: "[name]-[hash].js", assetFileNames: "[name]-[hash][extname]", chunkFileNames: "[name]-[hash].js" } },
  },
});
