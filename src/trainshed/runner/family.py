"""A child process and everything it starts, kept together so that all of it ends.

On Linux the child dies with its guard (parent-death signal) and the guard adopts orphans (subreaper); where a
cgroup v2 may be made, the family lives in one. Elsewhere its session is ended as a group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_LINUX = sys.platform.startswith("linux")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True) if _LINUX else None


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _bind_to_parent(parent_pid: int) -> None:
    os.setsid()
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # the parent died before the signal was armed
            os._exit(1)


class Family:
    """One started child and its descendants. Start it from the thread whose life it shares: the main thread."""

    def __init__(self, command: list[str], *, pass_fds: tuple[int, ...], environment: dict[str, str]) -> None:
        guard_pid = os.getpid()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            env=environment,
            preexec_fn=lambda: _bind_to_parent(guard_pid),
        )
        self._cgroup = _new_cgroup(self.process.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    def members(self) -> list[int]:
        """Process ids of the child and all its living descendants (on Linux; elsewhere the child alone)."""
        if not _LINUX:
            return [self.pid] if self.process.poll() is None else []
        return _descendants(os.getpid())

    def peak_memory_bytes(self) -> int | None:
        """The child's highest resident memory so far; `None` where it is unknown."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return None

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """End the whole family now; returns when nobody of it is left."""
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                (self._cgroup / "cgroup.kill").write_text("1")
        # The id of a child that was waited for may be somebody else's by now; on Linux `members` finds its orphans.
        if self.process.returncode is None or not _LINUX:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while members := self.members():
            for pid in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._reap()
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        self.process.wait()
        if self._cgroup is not None:
            with contextlib.suppress(OSError):
                self._cgroup.rmdir()

    def _reap(self) -> None:
        """Collect adopted orphans; the child itself is left to `process.wait`, which wants its status."""
        self.process.poll()
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid == self.pid:
                    return
                os.waitpid(ended.si_pid, 0)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(text) for text in (task / "children").read_text().split()]
    return found


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in _children(pid):
        found += [*([child] if _is_alive(child) else []), *_descendants(child)]
    return found


def _new_cgroup(pid: int) -> Path | None:
    """A cgroup v2 of its own for the child, where this process may make one."""
    if not _LINUX:
        return None
    try:
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        mount = next(
            Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line
        )
        folder = mount / own[3:].lstrip("/") / f"trainshed-{pid}"
        folder.mkdir()
        (folder / "cgroup.procs").write_text(str(pid))
        return folder
    except (OSError, StopIteration):
        return None
