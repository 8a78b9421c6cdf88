"""Starting the service, and the processes that its supervisor starts."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainshed.cli import output
from trainshed.cli.output import Json
from trainshed.errors import StartRefused

if TYPE_CHECKING:
    from trainshed.schemas import HostReading

_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def up(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (TRAINSHED_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Port of the web process (TRAINSHED_PORT).")
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--home", help="Folder for everything that is kept (TRAINSHED_HOME).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start the whole service on this machine, until Ctrl-C.

    It starts the web process, the scheduler, the model server and the agent, and keeps them alive.
    Everything is kept in one folder, ~/.trainshed. It listens on this machine alone until somebody has set a
    password with `trainshed setup`.

    \b
    Examples:
      trainshed up
      trainshed up --port 9000 --home /data/trainshed
    """
    # Settings travel to the child processes in the environment.
    given = {"TRAINSHED_HOST": host, "TRAINSHED_PORT": port, "TRAINSHED_HOME": home and home.absolute()}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    require("django", "server", "The service")
    from trainshed.server import supervisor

    supervisor.up(lambda started: _tell_started(started, as_json), output.note)


def require(module: str, extra: str, what: str) -> None:
    """Raise `StartRefused` with the command that installs `extra` when `module` is not there."""
    if importlib.util.find_spec(module) is None:
        raise StartRefused(
            f"{what} needs more than the SDK: the extra `{extra}` is not installed.",
            hint=f"pip install 'trainshed[{extra}]'   (or 'trainshed[all]', with training)",
        )


def _tell_started(started: Any, as_json: bool) -> None:
    if as_json:
        output.emit_line({"url": started.url, "home": str(started.home), "setup_code": started.setup_code})
        return
    output.say(f"Trainshed answers at {started.url} and keeps everything in {started.home}.")
    if started.setup_code:
        link = f"{started.url}/setup?code={started.setup_code}"
        output.say(f"First make yourself its owner. Open this link, which works once:\n\n  {link}\n")
        output.say(f"or in another terminal:\n\n  trainshed setup {started.setup_code}\n")
    print("Ctrl-C stops it.", flush=True)


def rotate_keys(as_json: Json = False) -> None:
    """Seal the secrets in the database under a new key, and forget the old one.

    Run it where `trainshed up` runs, as often as your rules ask; the service goes on meanwhile. Where the keys come
    from TRAINSHED_ENCRYPTION_KEYS, put a new one before the others there first, restart, run this, and take the old
    one out.
    """
    import json
    import subprocess
    import sys

    from trainshed.errors import StartRefused, from_problem

    done = subprocess.run([sys.executable, "-m", "trainshed.server.rotation"], capture_output=True, text=True)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise StartRefused("The keys could not be changed.", hint=done.stderr[-500:]) from None
    if "problem" in told:
        raise from_problem(told["problem"])
    if as_json:
        output.emit(told)
    else:
        output.say(f"{told['num_sealed']} secrets are sealed under the key {told['key']} now.")


agent = output.command_group()


@agent.command()
def run_agent(
    every_seconds: Annotated[float, typer.Option("--every-seconds", min=0.1, help="Time between readings.")] = 5.0,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="The host's key; else TRAINSHED_TOKEN.")
    ] = None,
) -> None:
    """Send this machine's readings to TRAINSHED_URL until stopped. `trainshed up` starts one."""
    import signal
    import threading

    require("psutil", "server", "The agent")
    from trainshed.hosts import agent as readings

    _log_to_stderr()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with output.connect(token=token_file.read_text().strip() if token_file else None) as client:

        def send(reading: HostReading) -> None:
            client.hosts.report(reading)

        readings.run(send, every_seconds, stop)


model_server = output.command_group()


@model_server.command()
def run_model_server(
    socket: Annotated[
        Path | None, typer.Option("--socket", help="Unix socket to listen on; default: in TRAINSHED_HOME.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on, with --port.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on instead of a socket.")] = 0,
    secret_file: Annotated[Path | None, typer.Option("--secret-file", help="What web must send, with --port.")] = None,
) -> None:
    """Answer predictions, with models from TRAINSHED_URL. `trainshed up` starts one."""
    require("onnxruntime", "server", "The model server")
    from trainshed.schemas import settings
    from trainshed.serving.main import run

    _log_to_stderr()
    run(
        url=settings.text("TRAINSHED_URL"),
        token=settings.text("TRAINSHED_TOKEN"),
        socket_path=None if port else socket or settings.home() / "run" / "serving.sock",
        host=host,
        port=port,
        secret=secret_file.read_text().strip() if secret_file else "",
    )


runner = output.command_group()


@runner.command(context_settings=_PASSED_ON)
def run_runner(context: typer.Context) -> None:
    """Guard one attempt of one job. The scheduler starts one for each."""
    from trainshed.runner.main import run

    run(context.args)


def _log_to_stderr() -> None:
    import logging

    from trainshed.schemas import settings

    level = settings.text("TRAINSHED_LOG_LEVEL").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
