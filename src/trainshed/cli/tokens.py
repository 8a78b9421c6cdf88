"""Access tokens for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

app = output.command_group(no_args_is_help=True, help="Access tokens for programs: create, list, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for; you see it in the list.")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="What it may do: read, write, jobs, admin. Repeat it. Default: read write jobs."),
    ] = None,
    expires_in_days: Annotated[float, typer.Option("--expires-in-days", help="0: never.", min=0)] = 90,
    workspace: Annotated[str, typer.Option("--workspace", help="The one that it works in; default: all yours.")] = "",
    as_json: Json = False,
) -> None:
    """Make a token. Its secret is printed once and never again.

    \b
    Examples:
      trainshed token create "nightly import"
      trainshed token create "phone page" --scope read --scope jobs --expires-in-days 30
    """
    with output.connect() as client:
        scopes = scope or ["read", "write", "jobs"]
        only = client.workspaces.find(workspace) if workspace else None
        token = client.tokens.create(name, scopes, expires_in_days or None, only)
    if as_json:
        output.emit(token)
        return
    output.say(f"{token.token}")
    output.note("Keep it now: it is not shown again. Use it as TRAINSHED_TOKEN or `Authorization: Bearer ...`.")


@app.command("list")
def list_tokens(as_json: Json = False) -> None:
    """Your tokens, without their secrets."""
    with output.connect() as client:
        tokens = list(client.tokens.list())
    if as_json:
        output.emit(tokens)
        return
    rows = [(it.id, it.name, " ".join(it.scopes), output.ago(it.last_used_at), _expiry(it.expires_at)) for it in tokens]
    output.table(("ID", "NAME", "SCOPES", "LAST USED", "EXPIRES"), rows, "You have no tokens.")


def _expiry(at: float | None) -> str:
    import time

    return "never" if at is None else f"in {output.duration(at - time.time())}"


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id or name.")],
    as_json: Json = False,
) -> None:
    """End a token at once.

    \b
    Example:
      trainshed token revoke "nightly import"
    """
    from trainshed.client.names import pick

    with output.connect() as client:
        found = pick(client.tokens.list(), token, "token")
        client.tokens.revoke(found)
    if as_json:
        output.emit({"revoked": found.id})
    else:
        output.say(f"Revoked {found.name!r} ({found.id}).")
