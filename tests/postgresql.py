"""A private PostgreSQL for the tests: its own folder, a free port on loopback, never root, stopped at the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def binaries() -> Path | None:
    """The folder of the newest installed server's programs; `None` if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running private server; `stop` and `start` are for tests that take the database away."""

    folder: Path
    port: int
    programs: Path

    @property
    def url(self) -> str:
        return f"postgresql://trainshed@127.0.0.1:{self.port}/trainshed"

    def control(self, *arguments: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-t", "60", *arguments]
        subprocess.run(_not_as_root(command), check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        # Only a crash of the whole machine loses what was not synced; a killed server keeps its promises.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.control("-m", mode, "stop")


def _not_as_root(command: list[str]) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A fresh server with an empty database `trainshed`."""
    programs = binaries()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="trainshed-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    running = Server(folder, free_port(), programs)
    try:
        said = ["-U", "trainshed", "-A", "trust", "-E", "UTF8", "-N"]
        init = [str(programs / "initdb"), "-D", str(folder / "data"), *said]
        subprocess.run(_not_as_root(init), check=True, stdout=subprocess.DEVNULL, cwd=folder)
        running.start()
        where = ["-h", "127.0.0.1", "-p", str(running.port), "-U", "trainshed"]
        subprocess.run([str(programs / "createdb"), *where, "trainshed"], check=True)
        yield running
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)
