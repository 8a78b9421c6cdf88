"""What `make security` runs: the tests of who reaches what, counted, with one JSON line for each check.

`cases` are the requests or attacks that were made, `leaks` those whose answer was not the right one. The same tests
are part of `make test`. What a failing test says goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
CHECKS = {
    "routes": ("tests/server/test_routes.py", "tests/web/test_pages.py"),
    "oauth": ("tests/server/test_sign_in_attacks.py",),
    "deploy": ("tests/server/test_production.py",),
    "dump": ("tests/server/test_dump.py",),
}


class Tally:
    """A pytest plugin that counts; a test that does not say how many cases it has is one."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.leaks: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            said = dict(report.user_properties)
            self._count(report, int(said.get("cases", 1)), int(said.get("leaks", 0)))  # type: ignore[call-overload]
        elif report.failed:
            self._count(report, 0, 1)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._count(report, 0, 1)

    def _count(self, report: pytest.TestReport | pytest.CollectReport, cases: int, leaks: int) -> None:
        for check, paths in CHECKS.items():
            if report.nodeid.startswith(paths):
                self.cases[check] += cases
                self.leaks[check] += max(leaks, int(report.failed))

    def line(self, check: str) -> dict[str, object]:
        holds = self.cases[check] > 0 and self.leaks[check] == 0
        return {"id": check, "cases": self.cases[check], "leaks": self.leaks[check], "holds": holds}


def main(arguments: list[str]) -> int:
    os.chdir(REPOSITORY)
    chosen = arguments or list(CHECKS)
    tally, paths = Tally(), [path for check in chosen for path in CHECKS[check]]
    with contextlib.redirect_stdout(sys.stderr):
        pytest.main(["-q", "--no-header", *paths], plugins=[tally])
    lines = [tally.line(check) for check in chosen]
    for line in lines:
        print(json.dumps(line))
    return 0 if all(line["holds"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
