"""The root of the command: which commands there are, how a mistake is told, and nothing else."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import trainshed
from trainshed.cli import output
from trainshed.errors import InvalidInput, TrainshedError

# Section -> command -> (where it is, what it does in one line). A module is loaded when its command is used.
_SECTIONS = {
    "Start": {
        "up": ("service:up", "Start the whole service on this machine."),
        "setup": ("account:setup", "Make the first owner of a fresh installation."),
        "login": ("account:login", "Sign in to a server and keep a token for it."),
        "logout": ("account:logout", "Give up the token of a server."),
        "doctor": ("doctor:doctor", "Check this machine and say what to do."),
    },
    "Work": {
        "dataset": ("datasets:app", "Pictures: import, list, show, versions."),
        "train": ("training:app", "Train a classifier on a dataset."),
        "jobs": ("jobs:app", "Jobs: list, watch, cancel, pause, resume, why."),
        "models": ("models:app", "Models: list, show, download, rename, delete."),
        "predict": ("models:predict", "Ask a model about pictures."),
        "project": ("projects:app", "Projects: groups of datasets, jobs and models."),
        "share": ("shares:app", "Links to one model, version or result."),
    },
    "Together": {
        "workspace": ("workspaces:app", "Workspaces: members, invites, robots."),
    },
    "Look after": {
        "gpus": ("hosts:gpus", "Hosts, their GPUs, and what runs on them."),
        "session": ("people:sessions", "The browsers in which you are signed in: list, end."),
        "people": ("people:app", "People with an account, for administrators."),
        "audit": ("audit:audit", "Who did what in a workspace, for its owners."),
        "quota": ("quotas:app", "What a workspace uses and may use: list, limit."),
        "rotate-keys": ("service:rotate_keys", "Seal the database's secrets under a new key."),
        "token": ("tokens:app", "Access tokens for programs: create, list, revoke."),
    },
}
# Started by the supervisor, never by a person.
_INTERNAL = {
    "agent": "service:agent",
    "model-server": "service:model_server",
    "runner": "service:runner",
}
_EPILOG = """\b
Examples:
  trainshed up                              start the service here
  trainshed setup                           make yourself its first owner
  trainshed dataset import ./flowers        one sub-folder per class
  trainshed train flowers                   train, and watch it
  trainshed predict flowers rose.jpg        ask the model

`trainshed COMMAND --help` explains a command, with examples of its own."""


# What Typer raises when it does not understand the arguments; where that class lives differs by release.
_USAGE_ERROR: type[Exception] = typer.BadParameter.mro()[2]


class _Commands(TyperGroup):
    """The commands of the tables above, each loaded when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for section in _SECTIONS.values() for name in section]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = {name: where for section in _SECTIONS.values() for name, (where, _) in section.items()}
        where = (known | _INTERNAL).get(cmd_name)
        found = _load(cmd_name, where) if where else None
        return _placed(found) if cmd_name in _SECTIONS["Work"] else found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, section in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, words) for name, (_, words) in section.items()])


def _load(name: str, where: str) -> Any:
    """The command at `module:attribute`: a Typer app, or a function that becomes one command."""
    module, _, attribute = where.partition(":")
    found = getattr(importlib.import_module(f"trainshed.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, output.command_group()
        found.command(name)(function)
    return typer.main.get_command(found)


_PLACES = ("workspace", "project")


def _placed(command: Any) -> Any:
    """The command, each of its own commands with the options that say where it works."""
    for name in command.list_commands(None) if hasattr(command, "list_commands") else []:
        _placed(command.get_command(None, name))
    if not hasattr(command, "list_commands"):
        group = output.command_group()
        group.command()(_where)
        command.params += [option for option in typer.main.get_command(group).params if option.name in _PLACES]
    return command


def _in_workspace(name: str | None) -> None:
    output.work_in("workspace", name or "")


def _in_project(name: str | None) -> None:
    output.work_in("project", name or "")


def _where(
    workspace: Annotated[
        str | None,
        typer.Option(
            callback=_in_workspace,
            expose_value=False,
            help="The workspace to work in; default: your first.",
        ),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(callback=_in_project, expose_value=False, help="The project to work in; default: its first."),
    ] = None,
) -> None:
    """Whose options every command gets that works in a project."""


app = output.command_group(cls=_Commands, epilog=_EPILOG)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"trainshed {trainshed.__version__}")
        raise typer.Exit()


@app.callback(no_args_is_help=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Trainshed: pictures in, one command, a model that answers out."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 not understood, 130 interrupted.

    With `--json` among the arguments a failure is a problem document on stdout, else words on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="trainshed", standalone_mode=False)
        sys.stdout.flush()
    except TrainshedError as error:
        output.report(error, as_json)
        code = 1
    except _USAGE_ERROR as error:
        code = _tell_usage(error, as_json)
    except (typer.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever read our output has gone; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _tell_usage(error: Any, as_json: bool) -> int:
    """Words on how the command is called, or the same as a problem document; returns the exit code."""
    if as_json:
        output.report(InvalidInput(error.format_message(), hint="`trainshed COMMAND --help` explains."), as_json)
    else:
        error.show()
    return int(error.exit_code)
