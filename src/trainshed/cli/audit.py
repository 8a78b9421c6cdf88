"""What was done in a workspace, or everywhere."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json


def audit(
    who: Annotated[str, typer.Option("--who", help="Only by this actor, such as `person:ID`.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only this act, such as `token.issue`.")] = "",
    noun: Annotated[str, typer.Option("--noun", help="Only acts on this kind of thing, such as `dataset`.")] = "",
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Of the whole installation, for its administrators.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """Who did what, on what, from where, by which token; for owners of the workspace.

    \b
    Examples:
      trainshed audit
      trainshed audit --noun token --limit 200 --json
    """
    with output.connect() as client:
        ask = client.audit.everywhere if everywhere else client.audit.list
        rows = list(itertools.islice(ask(who=who, action=action, noun=noun), limit))
    if as_json:
        output.emit(rows)
        return
    shown = [
        (
            datetime.fromtimestamp(it.at).strftime("%Y-%m-%d %H:%M:%S"),
            it.actor_name or it.actor,
            it.action,
            it.thing_name or it.thing_id,
            it.address,
        )
        for it in rows
    ]
    output.table(("WHEN", "WHO", "DID", "ON", "FROM"), shown, "Nothing was done yet.")
