"""Projects: the named groups of datasets, jobs and models inside a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json

if TYPE_CHECKING:
    from trainshed.client import Client
    from trainshed.schemas import ProjectView

app = output.command_group(no_args_is_help=True, help="Projects: groups of datasets, jobs and models.")
Project = Annotated[str, typer.Argument(metavar="PROJECT", help="Its name or id, or the beginning of one.")]
Description = Annotated[str, typer.Option("--description", help="What it is about.")]


@app.command("list")
def list_projects(as_json: Json = False) -> None:
    """The projects of the workspace, the oldest first."""
    with output.connect() as client:
        projects = list(client.projects.list())
    if as_json:
        output.emit(projects)
        return
    rows = [(it.name, it.task, it.description[:60], it.id) for it in projects]
    output.table(("NAME", "TASK", "ABOUT", "ID"), rows, "There are no projects yet.")


@app.command()
def show(project: Project, as_json: Json = False) -> None:
    """One project."""
    with output.connect() as client:
        found = client.projects.get(_found(client, project))
    if as_json:
        output.emit(found)
        return
    output.fields(
        [
            ("name", found.name),
            ("id", found.id),
            ("task", found.task),
            ("about", found.description),
            ("made", output.ago(found.created_at)),
        ]
    )


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    description: Description = "",
    as_json: Json = False,
) -> None:
    """Make a project in the workspace.

    \b
    Example:
      trainshed project create "Garden birds" --description "Which bird is at the feeder?"
    """
    with output.connect() as client:
        made = client.projects.create(name, description=description)
    output.tell(made, as_json, f"Made {made.name!r} ({made.id}).")


@app.command()
def change(
    project: Project,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="What it is about.")] = None,
    as_json: Json = False,
) -> None:
    """Give a project another name or description."""
    with output.connect() as client:
        changed = client.projects.change(_found(client, project), name=name, description=description)
    output.tell(changed, as_json, f"Changed {changed.name!r}.")


@app.command()
def delete(
    project: Project,
    with_everything: Annotated[
        bool, typer.Option("--with-everything", help="Also its datasets, jobs and models; owners only.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a project that is empty."""
    with output.connect() as client:
        found = _found(client, project)
        output.confirm(f"Delete {found.name!r}{' with everything in it' if with_everything else ''}?", yes)
        client.projects.delete(found, with_everything=with_everything)
    output.tell({"deleted": found.id}, as_json, f"Deleted {found.name!r}.")


def _found(client: Client, wanted: str) -> ProjectView:
    from trainshed.client.names import pick

    return pick(client.projects.list(), wanted, "project")
