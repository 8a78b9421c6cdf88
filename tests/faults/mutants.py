"""`make mutants`: remove each fence of the ledger in turn; the contract tests must go red each time.

The fences around an attempt's processes are missed by journeys with real processes; those take a minute each. Works on
a copy of the sources. Prints a table (`--json`: one line per mutant) and exits with 1 if any mutant survives, or if the
unchanged copy is not green.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SQL = "src/trainshed/server/queue/sql.py"
LEDGER = "src/trainshed/server/queue/ledger.py"
COUNTERS = "src/trainshed/server/queue/counters.py"
ORDER = "src/trainshed/server/queue/order.py"
GUARD = "src/trainshed/runner/guard.py"
FAMILY = "src/trainshed/runner/family.py"
TESTS = "tests/server/queue"
DEATHS = "tests/journeys/test_deaths.py::test_"


@dataclass(frozen=True)
class Mutant:
    """One fence and the text whose replacement takes it away."""

    name: str
    file: str
    statement: str
    old: str
    new: str
    tests: str = TESTS

    def apply(self, root: Path) -> None:
        """Change the text inside the named statement; it must be there exactly once."""
        path = root / self.file
        text = path.read_text()
        start = re.search(rf"^(def )?{self.statement}\b", text, re.MULTILINE)
        if start is None:
            raise SystemExit(f"{self.name}: there is no {self.statement} in {self.file}")
        end = re.search(r"^(?:[A-Z_]+ = |def |@|# )", text[start.end() :], re.MULTILINE)
        stop = start.end() + end.start() if end else len(text)
        part = text[start.start() : stop]
        if part.count(self.old) != 1:
            raise SystemExit(f"{self.name}: {self.old!r} stands {part.count(self.old)} times in {self.statement}")
        path.write_text(text[: start.start()] + part.replace(self.old, self.new) + text[stop:])


ATTEMPT = " AND attempt = %(attempt)s"
RUNNING = " AND state = 'running'"
MUTANTS = [
    Mutant("every write: the attempt's number", SQL, "HOLD", ATTEMPT, ""),
    Mutant("every write: the running state", SQL, "HOLD", RUNNING, ""),
    Mutant("first renewal: the attempt's number", SQL, "START", ATTEMPT, ""),
    Mutant("first renewal: the assigned state", SQL, "START", " AND state = 'assigned'", ""),
    Mutant("publish: the attempt's number", SQL, "PUBLISH", ATTEMPT, ""),
    Mutant("publish: the running state", SQL, "PUBLISH", RUNNING, ""),
    Mutant("publish: no acknowledged cancel", SQL, "PUBLISH", " AND NOT cancel_requested", ""),
    Mutant("publish: the look at the cancel", LEDGER, "publish", "    if cancel:\n", "    if False:\n"),
    Mutant("end: the attempt's number", SQL, "END", ATTEMPT, ""),
    Mutant("end: the state it ends from", SQL, "END", " AND state = %(from)s", ""),
    Mutant("end: a cancel wins", LEDGER, "_verdict", "if cancel or ", "if "),
    Mutant("claim: the queued state", SQL, "ASSIGN", " AND state = 'queued'", ""),
    Mutant("claim: a slot has one holder", SQL, "TAKE_SLOT", " AND attempt_id IS NULL", ""),
    Mutant("a person's move: the state it leaves", SQL, "MOVE", " AND state = %(from)s", ""),
    Mutant("cancel: only what runs is asked", SQL, "REQUEST_CANCEL", " AND state IN ('assigned', 'running')", ""),
    Mutant("pause: only what runs is asked", SQL, "REQUEST_PAUSE", " AND state IN ('assigned', 'running')", ""),
    Mutant("sweep: the lease has ended", SQL, "OVERDUE", "attempt.lease_expires_at < {now} OR", "TRUE OR"),
    Mutant(
        "sweep: a lease beyond any ends", SQL, "OVERDUE", " OR attempt.lease_expires_at > {now} + 2 * %(lease)s", ""
    ),
    Mutant("sweep: the web was up for a lease", SQL, "OVERDUE", " AND {now} - since >= %(lease)s", ""),
    Mutant("sweep: the web is up now", SQL, "OVERDUE", " AND {now} - beat_at <= %(gap)s", ""),
    Mutant("sweep: only the newest attempt", SQL, "OVERDUE", " AND job.attempt = attempt.number", ""),
    Mutant(
        "pulse: a gap starts it anew",
        SQL,
        "BEAT",
        "WHEN {now} - pulse.beat_at > %(gap)s OR ",
        "WHEN ",
    ),
    Mutant("pulse: a clock set back starts it anew", SQL, "BEAT", " OR {now} < pulse.beat_at", ""),
    Mutant(
        "leader: one at a time", SQL, "LEAD", "WHERE leader.holder = excluded.holder OR leader.expires_at < {now}", ""
    ),
    Mutant("renewal: prolongs the lease", LEDGER, "renew", "    _write(sql.RENEW, ", "    len(sql.RENEW); dict("),
    Mutant("events: a repeated batch", LEDGER, "tell", "events[max(0, seen - first) :]", "events"),
    Mutant("submit: the key's request", LEDGER, "_made_before", "found[0][1] != fingerprint", "False"),
    Mutant("deaths: three fail the job", LEDGER, "_verdict", "deaths + 1 < MOST_DEATHS", "True"),
    Mutant("an end frees the slots", LEDGER, "_close", "    _write(sql.FREE_SLOTS, attempt_id=held.attempt_id)\n", ""),
    Mutant("quota: what is asked for fits", SQL, "TAKE", "quota.used + excluded.used <= quota.most", "TRUE"),
    Mutant("quota: a submit is asked for", COUNTERS, "move", 'before in ("", "queued")', 'before == "queued"'),
    Mutant("quota: what was started just now", LEDGER, "_limits", " + counters.pending(workspace_id, resource)", ""),
    Mutant("quota: a new month", SQL, "_USED", "WHEN quota.period < %(period)s THEN %(first)s\n", ""),
    Mutant("quota: last month's hours", LEDGER, "_limits", "used if period == month else 0", "used"),
    Mutant("quota: running jobs hold back", ORDER, "_over_quota", "running.used >= running.most", "False"),
    Mutant("quota: GPU-hours hold back", ORDER, "_over_quota", "cards.used >= cards.most", "False"),
    Mutant("quota: a wrong counter keeps nobody", SQL, "_USED", "quota.used + %(change)s < 0", "FALSE"),
    Mutant(
        "guard: ends when it is superseded",
        GUARD,
        "class Guard",
        'if kind == "superseded":',
        "if False:",
        DEATHS + "i5_a_frozen_attempt_that_wakes_up_after_its_lease_changes_nothing",
    ),
    Mutant(
        "guard: ends with the supervisor",
        GUARD,
        "class Guard",
        "            self._start(self._hold_lifeline, lifeline)\n",
        "            pass\n",
        DEATHS + "everything_ends_with_the_supervisor_and_the_training_goes_on_at_the_next_start",
    ),
    Mutant(
        "child: dies with its guard",
        FAMILY,
        "_bind_to_parent",
        "_PR_SET_PDEATHSIG, signal.SIGKILL",
        "_PR_SET_PDEATHSIG, 0",
        "tests/runner/test_family.py::test_a_child_ends_with_its_parent",
    ),
]


@contextmanager
def copy_of_sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ts-mutant-") as folder:
        root = Path(folder)
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", root)
        yield root


def first_failure(root: Path, tests: str = TESTS) -> str | None:
    """The first of these tests that fails in this copy; `None` if all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "--no-header", "-rfE", tests]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    named = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", done.stdout, re.MULTILINE)
    if named is None:
        raise SystemExit(f"pytest did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return named[1]


def killed_by(mutant: Mutant) -> str | None:
    with copy_of_sources() as root:
        mutant.apply(root)
        return first_failure(root, mutant.tests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default="", help="only mutants with this in their name")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    options = parser.parse_args()
    with copy_of_sources() as root:
        failure = first_failure(root)
    if failure:
        raise SystemExit(f"the unchanged sources are not green: {failure}")
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, test in zip(chosen, pool.map(killed_by, chosen), strict=True):
            survivors += test is None
            line = {"mutant": mutant.name, "killed": test is not None, "by": test}
            print(json.dumps(line) if options.json else f"{'red' if test else 'GREEN':6} {mutant.name:40} {test or ''}")
            sys.stdout.flush()
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants went red")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
