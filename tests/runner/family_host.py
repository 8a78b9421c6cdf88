"""A process that holds one family, so that what it kills is not the tests' own: commands on standard input.

Run as `python family_host.py`. It starts the family, prints the ids of the child, a grandchild, and a grandchild that
has left the session and lost its parent; then it answers `members`, `memory`, `kill` and `signal NUMBER`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from trainshed.runner.family import Family, adopt_orphans

_PAUSE = "import signal; signal.pause()"
_LEAVE = (
    "import subprocess as s, sys; "
    f"print(s.Popen([sys.executable, '-S', '-c', {_PAUSE!r}], start_new_session=True, stdout=s.DEVNULL).pid)"
)
_CHILD = f"""
import signal, subprocess, sys
near = subprocess.Popen([sys.executable, "-S", "-c", {_PAUSE!r}])
far = subprocess.run([sys.executable, "-S", "-c", {_LEAVE!r}], stdout=subprocess.PIPE, check=True).stdout
print(near.pid, int(far), flush=True)
signal.pause()
"""


def answer(family: Family, command: str) -> Any:
    if command == "members":
        return family.members()
    if command == "memory":
        return family.peak_memory_bytes()
    if command == "kill":
        family.kill()
        return family.process.returncode
    family.signal(signal.Signals(int(command.removeprefix("signal "))))
    return family.process.wait()


def main() -> None:
    adopt_orphans()
    family = Family([sys.executable, "-S", "-c", _CHILD], pass_fds=(), environment=dict(os.environ))
    assert family.process.stdout is not None
    print(json.dumps([family.pid, *map(int, family.process.stdout.readline().split())]), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(family, line.strip())), flush=True)


if __name__ == "__main__":
    main()
