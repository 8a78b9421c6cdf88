"""Workspaces: making them, who is in them, how somebody gets in, and their robots."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

if TYPE_CHECKING:
    from trainshed.client import Client
    from trainshed.schemas import InviteView, MemberView

app = output.command_group(
    no_args_is_help=True, help="Workspaces: what a team shares, its members, invites and robots."
)
Workspace = Annotated[str, typer.Argument(metavar="WORKSPACE", help="Its name or id, or the beginning of one.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]
Member = Annotated[str, typer.Argument(metavar="MEMBER", help="A member's name, e-mail address or id.")]
Role = Annotated[str, typer.Option("--role", help="viewer reads, editor works, owner manages.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_workspaces(
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those of yours that are deleted and may come back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The workspaces that you belong to."""
    with output.connect() as client:
        workspaces = list(client.workspaces.list(deleted=deleted))
    if as_json:
        output.emit(workspaces)
        return
    rows = [(it.name, it.role, len(it.projects), _left(it.ends_at) if it.ends_at else "-", it.id) for it in workspaces]
    output.table(("NAME", "YOUR ROLE", "PROJECTS", "GONE", "ID"), rows, "There is none.")


@app.command()
def create(name: Name, as_json: Json = False) -> None:
    """Make a workspace of your own, with a first project."""
    with output.connect() as client:
        made = client.workspaces.create(name)
    output.tell(made, as_json, f"Made {made.name!r} ({made.id}).")


@app.command()
def rename(workspace: Workspace, name: Name, as_json: Json = False) -> None:
    """Give a workspace another name."""
    with output.connect() as client:
        renamed = client.workspaces.rename(workspace, name)
    output.tell(renamed, as_json, f"It is called {renamed.name!r} now.")


@app.command()
def leave(workspace: Workspace, yes: Yes = False, as_json: Json = False) -> None:
    """End your own membership; the last owner cannot."""
    with output.connect() as client:
        found = client.workspaces.find(workspace)
        output.confirm(f"Leave {found.name!r}?", yes)
        client.workspaces.leave(found)
    output.tell({"left": found.id}, as_json, f"You have left {found.name!r}.")


@app.command()
def delete(workspace: Workspace, yes: Yes = False, as_json: Json = False) -> None:
    """Delete a workspace and cancel its jobs; for some days `restore` takes it back."""
    with output.connect() as client:
        found = client.workspaces.find(workspace)
        output.confirm(f"Delete the workspace {found.name!r} with everything in it?", yes)
        client.workspaces.delete(found)
    output.tell(
        {"deleted": found.id}, as_json, f"Deleted {found.name!r}. To take it back: workspace restore {found.id}"
    )


@app.command()
def restore(workspace: Workspace, as_json: Json = False) -> None:
    """Take a deleted workspace back. Its jobs stay cancelled."""
    with output.connect() as client:
        back = client.workspaces.restore(workspace)
    output.tell(back, as_json, f"{back.name!r} is back.")


# Members


@app.command()
def members(workspace: Workspace, as_json: Json = False) -> None:
    """The people in a workspace."""
    with output.connect() as client:
        found = list(client.members.list(workspace))
    if as_json:
        output.emit(found)
        return
    rows = [(it.name, it.email, it.role, output.ago(it.since), it.id) for it in found]
    output.table(("NAME", "E-MAIL", "ROLE", "SINCE", "ID"), rows, "Nobody is in it.")


@app.command()
def role(
    workspace: Workspace,
    member: Member,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, editor or owner.")],
    as_json: Json = False,
) -> None:
    """Give a member another role.

    \b
    Example:
      trainshed workspace role "Bird lab" grace@example.org editor
    """
    with output.connect() as client:
        changed = client.members.change(_member(client, workspace, member), role, workspace)  # type: ignore[arg-type]
    output.tell(changed, as_json, f"{changed.name} is {changed.role} now.")


@app.command()
def remove(workspace: Workspace, member: Member, yes: Yes = False, as_json: Json = False) -> None:
    """End a membership, at once; what the person made stays."""
    with output.connect() as client:
        found = _member(client, workspace, member)
        output.confirm(f"Remove {found.name}?", yes)
        client.members.remove(found, workspace)
    output.tell({"removed": found.id}, as_json, f"{found.name} is no member any more.")


@app.command("hand-over")
def hand_over(workspace: Workspace, member: Member, yes: Yes = False, as_json: Json = False) -> None:
    """Make another member the owner in your place; you stay as an editor."""
    with output.connect() as client:
        found = _member(client, workspace, member)
        output.confirm(f"Make {found.name} the owner in your place?", yes)
        changed = client.members.hand_over(found, workspace)
    output.tell(changed, as_json, f"{changed.name} owns it now, and you are an editor.")


def _member(client: Client, workspace: str, wanted: str) -> MemberView:
    from trainshed.client.names import pick

    known = list(client.members.list(workspace))
    by_email = [member for member in known if member.email == wanted]
    return by_email[0] if by_email else pick(known, wanted, "member")


# Invites


@app.command()
def invite(
    workspace: Workspace,
    role: Role = "viewer",
    email: Annotated[str, typer.Option("--email", help="Mail it to this address, for whoever has that alone.")] = "",
    days: Annotated[float, typer.Option("--expires-in-days", help="1 to 30.")] = 7,
    as_json: Json = False,
) -> None:
    """Make an invite. Its link works once, is printed once and never again.

    \b
    Examples:
      trainshed workspace invite "Bird lab" --role editor
      trainshed workspace invite "Bird lab" --email grace@example.org --expires-in-days 30
    """
    with output.connect() as client:
        made = client.invites.create(role, email, days, workspace)  # type: ignore[arg-type]
    _tell_link(made, as_json)


@app.command()
def invites(workspace: Workspace, as_json: Json = False) -> None:
    """Invites that nobody has used yet."""
    with output.connect() as client:
        found = list(client.invites.list(workspace))
    if as_json:
        output.emit(found)
        return
    rows = [(it.email or "whoever has the link", it.role, it.invited_by, _left(it.expires_at), it.id) for it in found]
    output.table(("FOR", "ROLE", "BY", "EXPIRES", "ID"), rows, "There are no open invites.")


Invite = Annotated[str, typer.Argument(metavar="INVITE", help="Its id, or the e-mail address that it is for.")]


@app.command()
def remind(workspace: Workspace, invite: Invite, as_json: Json = False) -> None:
    """Mail an invite again, with a new link; the earlier one ends."""
    with output.connect() as client:
        reminded = client.invites.remind(_invite(client, workspace, invite))
    _tell_link(reminded, as_json)


@app.command()
def uninvite(workspace: Workspace, invite: Invite, as_json: Json = False) -> None:
    """End an invite, at once."""
    with output.connect() as client:
        found = _invite(client, workspace, invite)
        client.invites.revoke(found)
    output.tell({"revoked": found.id}, as_json, "The invite works no more.")


@app.command()
def join(
    link: Annotated[str, typer.Argument(metavar="LINK", help="The link that you were given.")], as_json: Json = False
) -> None:
    """Become a member by an invite."""
    with output.connect() as client:
        joined = client.invites.accept(link)
    output.tell(joined, as_json, f"You are {joined.role} of {joined.name!r} now.")


def _invite(client: Client, workspace: str, wanted: str) -> InviteView:
    from trainshed.errors import NotFound

    for found in client.invites.list(workspace):
        if wanted in (found.id, found.email):
            return found
    raise NotFound(f"There is no open invite {wanted!r}.", hint="`trainshed workspace invites` lists them.")


def _tell_link(made: InviteView, as_json: bool) -> None:
    output.tell(made, as_json, str(made.link))
    if not as_json:
        output.note(f"It was mailed to {made.email}." if made.email else "Send it to whom it is for; it works once.")


# Robots


@app.command()
def robot(
    workspace: Workspace,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: Annotated[str, typer.Option("--role", help="viewer or editor.")] = "viewer",
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="read, write, jobs. Repeat it. Default: all three.")
    ] = None,
    days: Annotated[float, typer.Option("--expires-in-days", help="0: never.", min=0)] = 90,
    as_json: Json = False,
) -> None:
    """Make a token that speaks for the workspace, whoever comes and goes. It is printed once.

    \b
    Example:
      trainshed workspace robot "Bird lab" "nightly import" --role editor
    """
    with output.connect() as client:
        made = client.robots.create(name, role, scope or ("read", "write", "jobs"), days or None, workspace)  # type: ignore[arg-type]
    output.tell(made, as_json, str(made.token))
    if not as_json:
        output.note("Keep it now: it is not shown again. Use it as TRAINSHED_TOKEN or `Authorization: Bearer ...`.")


@app.command()
def robots(workspace: Workspace, as_json: Json = False) -> None:
    """The robots of a workspace, without their secrets."""
    with output.connect() as client:
        found = list(client.robots.list(workspace))
    if as_json:
        output.emit(found)
        return
    rows = [
        (it.name, it.role, " ".join(it.scopes), output.ago(it.last_used_at), f"{it.beginning}…", it.id) for it in found
    ]
    output.table(("NAME", "ROLE", "SCOPES", "LAST USED", "TOKEN", "ID"), rows, "It has no robots.")


@app.command("end-robot")
def end_robot(
    workspace: Workspace,
    robot: Annotated[str, typer.Argument(metavar="ROBOT", help="Its name or id.")],
    as_json: Json = False,
) -> None:
    """End a robot's token, at once."""
    from trainshed.client.names import pick

    with output.connect() as client:
        found = pick(client.robots.list(workspace), robot, "robot")
        client.robots.revoke(found)
    output.tell({"revoked": found.id}, as_json, f"Revoked {found.name!r}.")


def _left(at: float) -> str:
    return f"in {output.duration(at - time.time())}"
