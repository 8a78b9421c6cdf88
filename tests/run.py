"""What `make test` runs after `make check`: the whole suite on SQLite, then what speaks to a database on PostgreSQL.

Arguments go to pytest: `make test ARGS="-k ledger -x"`. On Debian as root a missing PostgreSQL or Chromium is
installed; where it cannot be, its tests are skipped with one line, and in CI (`CI=true`) that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import postgresql

REPOSITORY = Path(__file__).resolve().parents[1]
_NO_TESTS = 5  # pytest's exit code when nothing was selected
# Where two databases may differ: statements, locks, what a column takes. Pages, tables of who may what, attacks on
# sign-in and journeys about files go through the same statements, and are left to SQLite.
ON_POSTGRESQL = (
    "tests/server",
    *(f"tests/journeys/test_{name}.py" for name in ("demo_path", "deaths", "orders", "database_outage")),
)
ON_SQLITE_ALONE = tuple(f"tests/server/test_{name}.py" for name in ("routes", "fuzz", "sign_in_attacks"))
IN_BROWSER = "tests/browser"


def main(arguments: list[str]) -> int:
    os.chdir(REPOSITORY)
    paths = [one for one in arguments if one.startswith("tests") and Path(one.partition("::")[0]).exists()]
    options = [one for one in arguments if one not in paths]
    codes = [run_on_sqlite(paths or ["tests"], options)]
    again = of_database(paths or ["tests"])
    if again:
        codes.append(run_on_postgresql(again, options))
    return max(codes)


def of_database(paths: list[str]) -> list[str]:
    """The parts of these paths that speak to a database."""
    whole = [path for path in paths if path.startswith(ON_POSTGRESQL)]
    return whole + [part for part in ON_POSTGRESQL if part not in whole and part.startswith(tuple(paths))]


def run_on_sqlite(paths: list[str], options: list[str]) -> int:
    """Everything, and the pages in a real browser where there is one."""
    asks_browser = any(path.startswith(IN_BROWSER) or IN_BROWSER.startswith(path.rstrip("/")) for path in paths)
    reason = why_no_browser() if asks_browser else ""
    if reason:
        print(f"skipped: browser tests, because {reason}")
        options = [*options, f"--ignore={IN_BROWSER}"]
    return max(run("SQLite", paths, options), int(bool(reason) and is_ci()))


def run_on_postgresql(paths: list[str], options: list[str]) -> int:
    reason = why_no_postgresql()
    if reason:
        print(f"skipped: PostgreSQL tests, because {reason}")
        return int(is_ci())
    code = run("PostgreSQL", paths, [*options, *(f"--ignore={path}" for path in ON_SQLITE_ALONE if path not in paths)])
    return 0 if options and code == _NO_TESTS else code


def run(database: str, paths: list[str], options: list[str]) -> int:
    """One pytest of its own, because settings are read once per process; returns its exit code."""
    print(f"\n{database}: {' '.join([*paths, *options])}", flush=True)
    environment = {**os.environ, "TRAINSHED_TEST_DATABASE": database.lower()}
    return subprocess.run([sys.executable, "-m", "pytest", *paths, *options], env=environment, check=False).returncode


def why_no_postgresql() -> str:
    """Empty when PostgreSQL is installed, if need be just now; else the end of a sentence."""
    return why_not_installed("postgresql", "PostgreSQL", lambda: postgresql.binaries() is not None)


def why_no_browser() -> str:
    """Empty when Chromium is installed, if need be just now; else the end of a sentence."""
    return why_not_installed("chromium", "Chromium", lambda: shutil.which("chromium") is not None)


def why_not_installed(package: str, name: str, is_there: Callable[[], bool]) -> str:
    if is_there():
        return ""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"it is not installed (on Debian: apt-get install {package})."
    print(f"Installing {name} for the tests ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if is_there():
        return ""
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"apt-get could not install it: {said[-1] if said else f'exit code {done.returncode}'}"


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
