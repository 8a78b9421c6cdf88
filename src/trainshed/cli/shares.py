"""Links to one thing, for anybody who has them."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

app = output.command_group(
    no_args_is_help=True, help="Links to one model, version or result, for anybody who has them."
)


class Noun(StrEnum):
    """What can be shared."""

    model = "model"
    version = "version"
    job = "job"


@app.command()
def create(
    noun: Annotated[Noun, typer.Argument(metavar="NOUN", help="model, version or job (its result).")],
    thing: Annotated[str, typer.Argument(metavar="THING", help="A model's name or id; a version's or a job's id.")],
    days: Annotated[float, typer.Option("--expires-in-days", help="1 to 365.")] = 30,
    note: Annotated[str, typer.Option("--note", help="Whom it is for; you see it in the list.")] = "",
    as_json: Json = False,
) -> None:
    """Make a link that opens one page to read, and nothing else. It is printed once.

    \b
    Example:
      trainshed share create model flowers --expires-in-days 7 --note "for Grace"
    """
    with output.connect() as client:
        find: dict[Noun, Any] = {Noun.model: client.models.find, Noun.version: client.versions.get}
        made = client.shares.create(find.get(noun, client.jobs.get)(thing), days, note)
    output.tell(made, as_json, str(made.link))


@app.command("list")
def list_shares(as_json: Json = False) -> None:
    """The project's open links, without their secrets."""
    with output.connect() as client:
        shares = list(client.shares.list())
    if as_json:
        output.emit(shares)
        return
    rows = [
        (
            it.noun,
            it.thing_id,
            it.note,
            f"in {output.duration(it.expires_at - time.time())}",
            output.ago(it.last_used_at),
            it.id,
        )
        for it in shares
    ]
    output.table(("NOUN", "THING", "NOTE", "EXPIRES", "LAST USED", "ID"), rows, "Nothing is shared.")


@app.command()
def revoke(
    share: Annotated[str, typer.Argument(metavar="SHARE", help="Its id.")],
    as_json: Json = False,
) -> None:
    """End a link, at once."""
    with output.connect() as client:
        client.shares.revoke(share)
    output.tell({"revoked": share}, as_json, "The link opens nothing any more.")
