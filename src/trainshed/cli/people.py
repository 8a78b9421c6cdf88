"""My browsers, and the people of an installation."""

from __future__ import annotations

from typing import Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

app = output.command_group(
    no_args_is_help=True, help="People with an account, for administrators: list, deactivate, activate, administrator."
)
sessions = output.command_group(no_args_is_help=True, help="The browsers in which you are signed in: list, end.")
Who = Annotated[str, typer.Argument(metavar="PERSON", help="An e-mail address, or an id.")]


@app.command("list")
def list_people(as_json: Json = False) -> None:
    """Everybody with an account."""
    with output.connect() as client:
        people = list(client.people.list())
    if as_json:
        output.emit(people)
        return
    rows = [(it.id, it.email, it.name, _standing(it.is_active, it.is_administrator)) for it in people]
    output.table(("ID", "E-MAIL", "NAME", ""), rows, "There is nobody.")


def _standing(is_active: bool, is_administrator: bool) -> str:
    return ("administrator" if is_administrator else "") if is_active else "switched off"


@app.command()
def deactivate(person: Who, as_json: Json = False) -> None:
    """Switch an account off: its sessions end now, and none begins."""
    _switch(person, as_json, is_active=False)


@app.command()
def activate(person: Who, as_json: Json = False) -> None:
    """Switch an account on again."""
    _switch(person, as_json, is_active=True)


@app.command()
def administrator(
    person: Who,
    no: Annotated[bool, typer.Option("--no", help="Not any more.")] = False,
    as_json: Json = False,
) -> None:
    """Make somebody an administrator of the installation, or, with `--no`, no longer one."""
    _switch(person, as_json, is_administrator=not no)


def _switch(person: str, as_json: bool, **what: bool) -> None:
    with output.connect() as client:
        ids = {it.email: it.id for it in client.people.list()} if "@" in person else {}
        switched = client.people.switch(ids.get(person.lower(), person), **what)
    if as_json:
        output.emit(switched)
        return
    standing = _standing(switched.is_active, switched.is_administrator) or "on"
    output.say(f"{switched.email} is {standing} now.")


@sessions.command("list")
def list_sessions(as_json: Json = False) -> None:
    """The browsers in which you are signed in."""
    with output.connect() as client:
        found = list(client.sessions.list())
    if as_json:
        output.emit(found)
        return
    rows = [(it.id, it.address, output.ago(it.last_seen_at), it.browser) for it in found]
    output.table(("ID", "ADDRESS", "LAST SEEN", "BROWSER"), rows, "You are signed in nowhere.")


@sessions.command("end")
def end_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="As `trainshed session list` shows it.")],
    as_json: Json = False,
) -> None:
    """Sign one of your browsers out."""
    with output.connect() as client:
        client.sessions.end(session_id)
    if as_json:
        output.emit({"id": session_id, "is_ended": True})
    else:
        output.say("That browser is signed out.")
