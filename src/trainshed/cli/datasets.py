"""Pictures: bringing them in, looking at them, snapshots of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainshed.cli import output
from trainshed.cli.output import Json, ToProject, ToWorkspace

app = output.command_group(
    no_args_is_help=True, help="Pictures: a folder with one sub-folder per class becomes a dataset."
)
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's name or id, or the beginning of one.")]


@app.command("import")
def import_folder(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_ZIP", help="One sub-folder per class, or a zip of that.")
    ],
    name: Annotated[str | None, typer.Option("--name", help="The dataset's name; default: the folder's.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until every picture is proved.")] = True,
    as_json: Json = False,
) -> None:
    """Bring pictures into a dataset; into an existing one of that name they are added.

    The folder is packed, sent, and every picture is decoded once. A file that is no picture is listed with
    its reason, and the rest goes in. Links are not followed and hidden files not sent.

    \b
    Examples:
      trainshed dataset import ./flowers
      trainshed dataset import flowers.zip --name "flowers 2024"
    """
    from trainshed.cli import watching

    with output.connect() as client:
        with watching.bytes_bar(as_json) as progress:
            arrived = client.datasets.import_folder(folder, name, progress)
        job = watching.watch(client, arrived.job, as_json, stderr=True) if wait else arrived.job
        dataset = client.datasets.get(arrived.dataset)
    if as_json:
        output.emit({"dataset": dataset, "job": job, "left_out": arrived.left_out})
        return
    left_out = [file.model_dump() for file in arrived.left_out]
    if left_out:
        output.say(f"{len(left_out)} files were not sent:")
    for line in (*watching.skipped_lines(left_out, len(left_out)), *watching.result_lines(job)):
        output.say(line)
    if wait:
        output.say(f"The dataset {dataset.name!r} ({dataset.id}) has {dataset.num_images:,} pictures.")
        output.say(f"Next: trainshed train {_quoted(dataset.name)}")
    else:
        output.say(f"The import goes on. Watch it with: trainshed jobs watch {job.id}")


@app.command("list")
def list_datasets(as_json: Json = False) -> None:
    """All datasets of the project, newest first."""
    with output.connect() as client:
        datasets = list(client.datasets.list())
    if as_json:
        output.emit(datasets)
        return
    rows = [
        (
            it.name,
            it.num_images,
            len(it.classes),
            output.size(it.size_bytes),
            output.ago(it.created_at),
            it.id,
        )
        for it in datasets
    ]
    empty = "There are no datasets yet. `trainshed dataset import FOLDER` makes one."
    output.table(("NAME", "PICTURES", "CLASSES", "SIZE", "MADE", "ID"), rows, empty)


@app.command()
def show(dataset: Dataset, as_json: Json = False) -> None:
    """One dataset with its classes and versions.

    \b
    Example:
      trainshed dataset show flowers
    """
    with output.connect() as client:
        found = client.datasets.find(dataset)
        versions = list(client.versions.list(found))
    if as_json:
        output.emit({**output.plain(found), "versions": versions})
        return
    output.fields(
        [
            ("name", found.name),
            ("id", found.id),
            ("task", found.task),
            ("pictures", found.num_images),
            ("size", output.size(found.size_bytes)),
            ("made", output.ago(found.created_at)),
            ("versions", ", ".join(str(version.number) for version in versions)),
        ]
    )
    output.say()
    rows = [(it["name"], it.get("num_images"), it["id"]) for it in found.classes]
    output.table(("CLASS", "PICTURES", "ID"), rows, "It has no classes yet.")


@app.command()
def version(
    dataset: Dataset,
    validation: Annotated[
        float, typer.Option("--validation", min=0, max=0.99, help="Share of pictures that select the model.")
    ] = 0.15,
    test: Annotated[
        float, typer.Option("--test", min=0, max=0.99, help="Share that only the final report sees.")
    ] = 0.15,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same split.")] = 0,
    as_json: Json = False,
) -> None:
    """Make a version: an immutable snapshot with its split. Training makes one by itself when it needs one.

    \b
    Example:
      trainshed dataset version flowers --validation 0.2 --test 0.2 --seed 7
    """
    from trainshed.cli import watching
    from trainshed.schemas import SplitPlan

    with output.connect() as client:
        found = client.datasets.find(dataset)
        plan = SplitPlan(validation=validation, test=test, seed=seed)
        job = watching.watch(client, client.versions.create(found, plan), as_json, stderr=True)
        made = client.versions.made_by(job, found)
    if as_json:
        output.emit(made)
        return
    output.say(f"Version {made.number} of {found.name!r} ({made.id}): {_counts(made.summary.counts)}.")
    for warning in made.summary.warnings:
        output.say(f"Note: {warning}")


@app.command("versions")
def list_versions(dataset: Dataset, as_json: Json = False) -> None:
    """The versions of a dataset."""
    with output.connect() as client:
        versions = list(client.versions.list(client.datasets.find(dataset)))
    if as_json:
        output.emit(versions)
        return
    rows = [
        (it.number, it.summary.num_images, _counts(it.summary.counts), output.ago(it.created_at), it.id)
        for it in versions
    ]
    output.table(("NUMBER", "PICTURES", "SPLIT", "MADE", "ID"), rows, "It has no versions yet.")


@app.command()
def rename(
    dataset: Dataset,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    as_json: Json = False,
) -> None:
    """Give a dataset another name."""
    with output.connect() as client:
        renamed = client.datasets.rename(client.datasets.find(dataset), name)
    if as_json:
        output.emit(renamed)
    else:
        output.say(f"It is called {renamed.name!r} now.")


@app.command()
def move(
    dataset: Dataset,
    to_project: ToProject = "",
    to_workspace: ToWorkspace = "",
    as_json: Json = False,
) -> None:
    """Put a dataset into another project, with its versions; out of a workspace only as an owner.

    \b
    Example:
      trainshed dataset move flowers --to-workspace "Bird lab"
    """
    with output.connect() as client:
        found = client.datasets.find(dataset)
        target = output.target(client, found.workspace_id, to_workspace, to_project)
        moved = client.datasets.move(found, target)
    output.tell(moved, as_json, f"{moved.name!r} is in the project {target.name!r} now.")


@app.command()
def delete(
    dataset: Dataset,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a dataset that no version was taken of."""
    with output.connect() as client:
        found = client.datasets.find(dataset)
        output.confirm(f"Delete {found.name!r} with its {found.num_images:,} pictures?", yes)
        client.datasets.delete(found)
    if as_json:
        output.emit({"deleted": found.id})
    else:
        output.say(f"Deleted {found.name!r}.")


def _counts(counts: dict[str, dict[str, int]]) -> str:
    return ", ".join(f"{sum(of_split.values()):,} {split}" for split, of_split in counts.items())


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
