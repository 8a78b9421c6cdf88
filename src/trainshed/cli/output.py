"""How commands speak: JSON for programs, tables and sentences for people, questions on stderr.

What comes from a server is shown without its control characters: a dataset's name must not drive a terminal.
"""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainshed.errors import InvalidInput, TrainshedError

if TYPE_CHECKING:
    from rich.console import Console

    from trainshed.client import Client
    from trainshed.schemas import ProjectView

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs, and nothing else.")]
ToProject = Annotated[str, typer.Option("--to-project", help="Where to put it; default: the first one there.")]
ToWorkspace = Annotated[str, typer.Option("--to-workspace", help="Its workspace; default: the same.")]

_where = {"workspace": "", "project": ""}


def command_group(**options: Any) -> typer.Typer:
    """A Typer app in our manner: plain quick help, `-h`, and no tracebacks in colour."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        **options,
    )


def connect(url: str | None = None, token: str | None = None) -> Client:
    """The SDK's client, for `with`; imported here because it is not needed to explain a command."""
    from trainshed.client import Client

    return Client(url, token, workspace=_where["workspace"], project=_where["project"])


def target(client: Client, workspace_id: str, workspace: str, project: str) -> ProjectView:
    """The project that something is to be moved to: by name, in another workspace or in its own."""
    from trainshed.client.names import pick

    found = client.workspaces.find(workspace or workspace_id)
    if not project and not workspace:
        raise InvalidInput("Where to?", hint="Give --to-project, --to-workspace, or both.")
    return pick(found.projects, project, "project") if project else found.projects[0]


def work_in(name: str, value: str) -> None:
    """Name the workspace or the project of the command that is about to run; empty: the first."""
    _where[name] = value


def emit(data: Any) -> None:
    """Print models, lists and dictionaries as one JSON document on stdout."""
    print(json.dumps(plain(data), ensure_ascii=False, indent=2))


def tell(data: Any, as_json: bool, words: str) -> None:
    """What came of a command: the data for a program, or a sentence for a person."""
    if as_json:
        emit(data)
    else:
        say(words)


def emit_line(data: Any) -> None:
    """Print one JSON document in one line, at once: for commands that go on telling."""
    print(json.dumps(plain(data), ensure_ascii=False), flush=True)


def plain(data: Any) -> Any:
    """The data as JSON knows it: models, lists and dictionaries of them."""
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json")
    if isinstance(data, Mapping):
        return {str(name): plain(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(item) for item in data]
    return data


def say(text: str = "") -> None:
    """One or more lines for people, on stdout."""
    print(shown(text))


def note(text: str) -> None:
    """One or more lines for people that are not the command's result, on stderr."""
    print(shown(text), file=sys.stderr)


def report(error: TrainshedError, as_json: bool) -> None:
    """Tell a failure: a problem document on stdout, or the message and what to do on stderr."""
    if as_json:
        emit(error.to_problem())
        return
    typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    note(error.message)
    if error.hint:
        note(f"  {error.hint}")


def shown(text: object) -> str:
    """The text without control characters, except the ends of lines."""
    words = str(text)
    if words.isprintable():
        return words
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}" for c in words
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under headings, numbers to the right; `empty` instead when there is no row."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        say(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        is_number = all(isinstance(row[index], (int, float)) for row in rows)
        drawn.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(_cell(value)) for value in row))
    console().print(drawn)


def fields(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; a value that is `None` or empty is left out."""
    known = [(name, value) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(f"{name:<{width}}  {_cell(value)}")


def console(*, stderr: bool = False) -> Console:
    """A terminal, or a file as wide as any line; nothing in a text is taken for markup."""
    from rich.console import Console

    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=None if is_terminal else 10_000)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return shown(value)


def size(num_bytes: int | None) -> str:
    """Bytes as people read them: `1.5 GB`."""
    if num_bytes is None:
        return "-"
    amount, units = float(num_bytes), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "B" or amount >= 99.5 else f"{amount:.1f} {units[0]}"


def duration(seconds: float | None) -> str:
    """Seconds as people read them: `42 s`, `3:05 min`, `2:10 h`."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    if whole < 48 * 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02} h"
    return f"{whole // 86400} days"


def ago(at: float | None) -> str:
    """A moment, as seconds since 1970, told from now."""
    return "-" if at is None else f"{duration(time.time() - at)} ago"


def ask(question: str, given: str | None, option: str, *, secret: bool = False, twice: bool = False) -> str:
    """What was given as an option, else what the person at the terminal answers.

    `-` reads one line of standard input. Raises `InvalidInput` naming the option when nobody is there to ask.
    """
    if given == "-":
        return sys.stdin.readline().rstrip("\r\n")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InvalidInput(
            f"{question} is missing.",
            hint=f"Give it with {option}; `{option} -` reads a line of standard input.",
        )
    return str(typer.prompt(question, hide_input=secret, confirmation_prompt=twice, err=True))


def confirm(question: str, yes: bool) -> None:
    """Go on only if the person says so; `--yes` says so ahead. Raises `typer.Abort`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} Nobody is there to answer.", hint="Give --yes.")
    typer.confirm(question, abort=True, err=True)
