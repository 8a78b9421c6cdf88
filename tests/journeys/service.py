"""The whole service as real processes, for the journeys: started in a fresh home, looked at by role, always stopped.

Its processes are told from all others by the home in their environment, so that orphans are found as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg

from postgresql import free_port
from trainshed import Client
from trainshed.errors import StateConflict
from trainshed.schemas import JobView, ModelView

T = TypeVar("T")
LEASE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
# The role of a process by what its command line holds.
_ROLES = {
    "web": "trainshed.server.asgi",
    "scheduler": "trainshed.server.scheduler",
    "bootstrap": "trainshed.server.bootstrap",
    "agent": "trainshed agent",
    "model-server": "trainshed model-server",
    "supervisor": "trainshed up",
    "child": "trainshed.runner.child",
    "guard": "trainshed.runner --warm",
}


def wait_until(found: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `found`; fails after so many seconds with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Process:
    """A process; its start time tells it from a later one with the same id."""

    pid: int
    role: str
    start_time: str
    parent_pid: int
    environment_bytes: bytes = field(repr=False, compare=False)

    def is_alive(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            state, _, start_time = _stat(self.pid)
            return state not in "ZX" and start_time == self.start_time
        return False

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def maps(self) -> str:
        """The files that it has mapped: its libraries among them."""
        return Path(f"/proc/{self.pid}/maps").read_text()

    def waits_for(self) -> str:
        """What its main thread waits for in the kernel."""
        return Path(f"/proc/{self.pid}/wchan").read_text()

    @property
    def environment(self) -> dict[str, str]:
        entries = self.environment_bytes.decode(errors="replace").split("\0")
        return dict(entry.partition("=")[::2] for entry in entries if entry)


def _stat(pid: int) -> tuple[str, int, str]:
    """(state, parent, start time in ticks since boot)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), fields[19]


class Service:
    """One installation; `start` and `stop` may follow each other on the same home."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TRAINSHED_HOME": str(home),
            "TRAINSHED_PORT": str(self.port),
            "TRAINSHED_LEASE_SECONDS": str(LEASE_SECONDS),
            **environment,
        }
        self._up: subprocess.Popen[str] | None = None
        self._setup_code: str | None = None
        self.client: Client

    # Up and down

    def start(self) -> None:
        """Return when everything answers; the first time, make the owner and sign in."""
        with (self.home / "up.log").open("ab") as log:
            command = [sys.executable, "-m", "trainshed", "up", "--json"]
            self._up = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=_end_with_the_tests,
            )
        assert self._up.stdout is not None
        line = self._up.stdout.readline()
        assert line, f"`trainshed up` ended before it answered:\n{self.logs()}"
        told = json.loads(line)
        assert told["url"] == self.url, told
        if told["setup_code"]:
            self.client = Client(self.url, "none")
            self.welcome(told["setup_code"])

    def welcome(self, setup_code: str) -> None:
        """Make the owner; a journey of the first run leaves that to its pages."""
        self.client.setup(setup_code, "Ann Example", "ann@example.org", "a long enough passphrase")

    def ask_to_stop(self) -> None:
        assert self._up is not None
        self._up.terminate()

    def wait_stopped(self, seconds: float = 60.0) -> int:
        """The exit status of the supervisor."""
        assert self._up is not None and self._up.stdout is not None
        code = self._up.wait(seconds)
        self._up.stdout.close()
        return code

    def stop(self) -> int:
        self.ask_to_stop()
        return self.wait_stopped()

    def heal(self) -> None:
        """After a journey, whatever it has left: everything runs, and nobody works."""
        for process in self.processes():
            process.signal(signal.SIGCONT)
        if not self.processes("supervisor"):
            self.start()
        for job in self._unfinished():
            with contextlib.suppress(StateConflict):
                self.client.jobs.cancel(job)
        self.wait_idle()

    def _unfinished(self) -> list[JobView]:
        return list(self.client.jobs.list(state="blocked,queued,assigned,running,paused"))

    def end(self) -> None:
        """Leave nothing behind, whatever has happened."""
        if hasattr(self, "client"):
            self.client.close()
        if self._up is not None and self._up.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                for process in self.processes():
                    process.signal(signal.SIGCONT)
                self.ask_to_stop()
                self._up.wait(45)
        for process in self.processes():
            process.signal(signal.SIGKILL)
        if self._up is not None:
            self._up.wait(10)
            if self._up.stdout is not None:
                self._up.stdout.close()

    # Looking

    def processes(self, role: str = "") -> list[Process]:
        """The living processes of this installation, of one role where it is given."""
        mark = f"TRAINSHED_HOME={self.home}\0".encode()
        everyone = [found for folder in Path("/proc").iterdir() if folder.name.isdigit() and (found := _look(folder))]
        ours = [process for process in everyone if mark in process.environment_bytes]
        for process in ours:  # those that inspect pictures get no environment of ours
            ours += [child for child in everyone if child.parent_pid == process.pid and child not in ours]
        return [process for process in ours if role in ("", process.role)]

    def process(self, role: str) -> Process:
        """The only living process of a role."""
        return wait_until(lambda: _only(self.processes(role)), 20, f"one process of the role {role}")

    def working(self) -> list[Process]:
        """The guards that hold an attempt, and all their descendants."""
        everyone = self.processes()
        attempts = self.home / "run" / "attempts"
        pids = set()
        for note in attempts.iterdir():
            with contextlib.suppress(FileNotFoundError, ValueError):  # it is just being written or removed
                pids.add(json.loads(note.read_text())["pid"])
        family = [process for process in everyone if process.pid in pids and process.role == "guard"]
        for member in family:
            family += [process for process in everyone if process.parent_pid == member.pid]
        return family

    def has_warm_spare(self) -> bool:
        """Whether an idle runner has imported what a training needs, and only waits to be told to start."""
        working = self.working()
        idle = [process for process in self.processes("child") if process not in working]
        return any("libtorch" in process.maps() and "pipe" in process.waits_for() for process in idle)

    def logs(self, num_characters: int = 3000) -> str:
        """The last words of each process."""
        paths = [self.home / "up.log", *sorted((self.home / "logs").glob("*.log"))]
        tails = [(path.name, path.read_text(errors="replace")[-num_characters:]) for path in paths if path.exists()]
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database itself holds, read past the service."""
        url = self._environment.get("TRAINSHED_DATABASE_URL")
        if url:
            with psycopg.connect(url) as connection:
                return connection.execute(query).fetchall()  # type: ignore[arg-type]
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/trainshed.sqlite3?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def raw(self, method: str, path: str, **named: Any) -> httpx.Response:
        """One request as it is, with this person's token, never repeated."""
        headers = {"Authorization": f"Bearer {self.client.transport.token}", **named.pop("headers", {})}
        return httpx.request(method, f"{self.url}/api/v1{path}", headers=headers, trust_env=False, timeout=20, **named)

    def job_path(self, job: JobView) -> str:
        return f"/workspaces/{job.workspace_id}/projects/{job.project_id}/jobs/{job.id}"

    def busy_slots(self) -> list[dict[str, Any]]:
        return [slot for host in self.client.hosts.list() for slot in host.slots if slot["is_busy"]]

    def wait_for_shelf(self) -> ModelView:
        """The pretrained model, as soon as it stands on the shelf and all slots are free."""
        shelf = wait_until(lambda: list(self.client.models.shelf()), 240, "the model on the shelf")
        self.wait_idle()
        return shelf[0]

    def wait_idle(self) -> None:
        """Until nobody works, no slot is held and no attempt's folder is left."""
        wait_until(lambda: not self.busy_slots(), 20, "free slots")
        wait_until(lambda: not self.working(), 20, "the end of all attempts")
        wait_until(lambda: not list((self.home / "work").iterdir()), 20, "the end of all work folders")


S = TypeVar("S", bound=Service)


def _look(folder: Path) -> Process | None:
    try:
        environment = (folder / "environ").read_bytes()
        words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        state, parent_pid, start_time = _stat(int(folder.name))
    except OSError:
        return None
    if state in "ZX":
        return None
    role = next((role for role, said in _ROLES.items() if said in words), "other")
    return Process(int(folder.name), role, start_time, parent_pid, environment)


def _end_with_the_tests() -> None:
    """Between fork and exec: stop the service when the test process dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _only(processes: list[Process]) -> Process | None:
    return processes[0] if len(processes) == 1 else None


@contextlib.contextmanager
def running(home: Path | None = None, kind: type[S] = Service, **environment: str) -> Iterator[S]:  # type: ignore[assignment]
    """A started service with a signed-in client; on a failure its logs are printed."""
    folder = home or Path(tempfile.mkdtemp(prefix="tj-", dir="/tmp"))
    service = kind(folder, **environment)
    try:
        service.start()
        yield service
    except BaseException:
        print(service.logs())
        raise
    finally:
        service.end()
        left = service.processes()
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"processes were left behind: {left}"
