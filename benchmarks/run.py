"""`make bench`: every benchmark in turn, one after the other on this machine.

`--json` prints one line per figure; `--keep` also writes the figures, with the machine they come from, to
`benchmarks/results/`. Exit code 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("training", "journey", "ledger", "serving", "pages")


def figures_of(name: str) -> list[dict[str, object]]:
    """Run one benchmark; what it skips it says itself, on stderr. Raises `BrokenOff`."""
    began = time.monotonic()
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, str(HERE / f"{name}.py"), "--json"]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if told.returncode:
        raise BrokenOff(f"{name} broke off with exit code {told.returncode}")
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]


class BrokenOff(Exception):
    """A benchmark ended without its figures."""


def machine() -> dict[str, object]:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory[0] / 2**20, 1) if memory else None,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(BENCHMARKS)}; all without a name")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    figures: list[dict[str, object]] = []
    broken = 0
    for name in options.names or BENCHMARKS:
        try:
            new = figures_of(name)
        except BrokenOff as error:
            print(f"  {error}", file=sys.stderr, flush=True)
            broken += 1
            continue
        for figure in new:
            print(json.dumps(figure) if options.json else _line(figure), flush=True)
        figures += new
        if options.keep:  # after each one: what breaks off later costs nothing
            keep(figures, "-".join(options.names) or "all")
    sys.exit(bool(broken) or any(figure["holds"] is False for figure in figures))


def keep(figures: list[dict[str, object]], what: str) -> None:
    """Write the figures down with the machine that they come from."""
    day = time.strftime("%Y-%m-%d")
    results = HERE / "results" / f"{day}-{what}.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps({"date": day, "machine": machine(), "figures": figures}, indent=1) + "\n")


def _line(figure: dict[str, object]) -> str:
    anchor = f"{figure['anchor']} ({figure['anchor_name']})" if figure["anchor"] is not None else ""
    mark = {True: "holds", False: "MISSED", None: ""}[figure["holds"]]  # type: ignore[index]
    ratio = f"x {figure['ratio']}" if figure["ratio"] is not None else ""
    head = f"{figure['id']:3} {figure['name']:60} {figure['ours']!s:>10} {ratio:>9}"
    return f"{head} {figure['target']:32} {mark:7} {anchor}"


if __name__ == "__main__":
    main()
