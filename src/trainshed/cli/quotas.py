"""What a workspace uses and may use."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trainshed.cli import output
from trainshed.cli.output import Json
from trainshed.errors import InvalidInput, NotFound

app = output.command_group(no_args_is_help=True, help="What a workspace uses and may use: list, limit.")
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
Workspace = Annotated[
    str, typer.Option("--workspace", help="Its name or id (an administrator may give any id). Default: your first.")
]


@app.command("list")
def list_quotas(workspace: Workspace = "", as_json: Json = False) -> None:
    """What the workspace uses, and the most that it may."""
    with output.connect() as client:
        quotas = list(client.quotas.list(_id_of(client, workspace)))
    if as_json:
        output.emit(quotas)
        return
    rows = [(it.resource, _shown(it.resource, it.used), _shown(it.resource, it.most), it.meaning) for it in quotas]
    output.table(("RESOURCE", "USED", "AT MOST", "WHAT IS COUNTED"), rows, "Nothing is counted.")


@app.command()
def limit(
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="As `trainshed quota list` names it.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="A number; bytes also as 500GB, GPU time as 100h; `none`: no limit.")
    ],
    workspace: Workspace = "",
    as_json: Json = False,
) -> None:
    """Set a limit, as an administrator of the installation. What is used beyond it stays, and may not grow.

    \b
    Examples:
      trainshed quota limit stored_bytes 500GB
      trainshed quota limit gpu_seconds 100h --workspace "Vision lab"
      trainshed quota limit running_jobs none
    """
    most = parsed(value)
    with output.connect() as client:
        quota = client.quotas.limit(resource, most, _id_of(client, workspace))  # type: ignore[arg-type]
    if as_json:
        output.emit(quota)
        return
    used, limited = _shown(quota.resource, quota.used), _shown(quota.resource, quota.most)
    output.say(f"{quota.resource}: at most {limited}; {used} are used now.")


def parsed(value: str) -> int | None:
    """`12`, `500GB`, `1.5 TB`, `100h`, or `none`. Raises `InvalidInput` for anything else."""
    words = value.strip().lower()
    if words == "none":
        return None
    factor = 3600 if words.endswith("h") else _UNITS.get(words.removesuffix("b")[-1:], 1)
    try:
        number = float(words.rstrip("bh").rstrip("".join(_UNITS)))
        return int(number * factor)
    except (ValueError, OverflowError):
        raise InvalidInput(f"{value!r} is no limit; give a number, 500GB, 100h or none.") from None


def _shown(resource: str, amount: int | None) -> str:
    if amount is None:
        return "no limit"
    if resource == "stored_bytes":
        return output.size(amount)
    return f"{amount / 3600:,.1f} h" if resource == "gpu_seconds" else f"{amount:,}"


def _id_of(client: Any, workspace: str) -> str | None:
    """The id of a workspace of mine by its name; what is no name of mine is taken for an id."""
    from trainshed.client.names import pick

    if not workspace:
        return None
    try:
        return str(pick(client.workspaces.list(), workspace, "workspace").id)
    except NotFound:
        return workspace
