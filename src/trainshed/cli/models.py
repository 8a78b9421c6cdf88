"""Models: looking at them, taking them away, asking them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainshed.cli import output
from trainshed.cli.output import Json, ToProject, ToWorkspace
from trainshed.errors import InvalidInput

if TYPE_CHECKING:
    from trainshed.client import Client
    from trainshed.schemas import ModelView

app = output.command_group(no_args_is_help=True, help="Models: trained networks that answer, yours and the shelf's.")
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or id, or the beginning of one.")]


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """The project's models, newest first, and the pretrained ones that everyone may use."""
    with output.connect() as client:
        models = [*client.models.list(), *client.models.shelf()]
    if as_json:
        output.emit(models)
        return
    rows = [
        (
            it.name,
            _accuracy(it),
            len(it.classes),
            it.backbone,
            "shelf" if it.is_pretrained else "yours",
            it.id,
        )
        for it in models
    ]
    empty = "There are no models yet. `trainshed train DATASET` makes one."
    output.table(("NAME", "ACCURACY", "CLASSES", "BACKBONE", "WHOSE", "ID"), rows, empty)


@app.command()
def show(model: Model, as_json: Json = False) -> None:
    """One model: its classes, its figures, where it comes from."""
    with output.connect() as client:
        found = client.models.find(model)
    if as_json:
        output.emit(found)
        return
    names = [it.name for it in found.classes]
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    output.fields(
        [
            ("name", found.name),
            ("id", found.id),
            ("task", found.task),
            ("backbone", found.backbone),
            ("parameters", found.num_parameters),
            ("size", output.size(found.size_bytes)),
            ("classes", ", ".join(names[:20]) + more),
            ("trained by job", found.job_id),
            ("on version", found.version_id),
            ("made", output.ago(found.created_at)),
            *((name, value) for name, value in found.metrics.items() if isinstance(value, (int, float, str))),
        ]
    )


@app.command()
def download(
    model: Model,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, or the file to write.")] = Path(),
    as_json: Json = False,
) -> None:
    """Save a model's archive: safetensors, ONNX, classes, transform and card in one zip.

    \b
    Examples:
      trainshed models download flowers
      trainshed models download flowers /tmp/flowers.zip
    """
    from trainshed.cli import watching

    with output.connect() as client, watching.bytes_bar(as_json) as progress:
        found = client.models.find(model)
        saved = client.models.download(found, path, progress)
    if as_json:
        output.emit({"model": found, "path": str(saved), "size_bytes": saved.stat().st_size})
    else:
        output.say(f"Saved {found.name!r} to {saved} ({output.size(saved.stat().st_size)}).")


@app.command()
def rename(
    model: Model,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    as_json: Json = False,
) -> None:
    """Give a model another name."""
    with output.connect() as client:
        renamed = client.models.rename(client.models.find(model), name)
    if as_json:
        output.emit(renamed)
    else:
        output.say(f"It is called {renamed.name!r} now.")


@app.command()
def move(
    model: Model,
    to_project: ToProject = "",
    to_workspace: ToWorkspace = "",
    as_json: Json = False,
) -> None:
    """Put a model into another project, with the job that trained it; out of a workspace only as an owner.

    \b
    Example:
      trainshed models move flowers --to-workspace "Bird lab"
    """
    with output.connect() as client:
        found = client.models.find(model)
        target = output.target(client, found.workspace_id, to_workspace, to_project)
        moved = client.models.move(found, target)
    output.tell(moved, as_json, f"{moved.name!r} is in the project {target.name!r} now.")


@app.command()
def delete(
    model: Model,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a model."""
    with output.connect() as client:
        found = client.models.find(model)
        output.confirm(f"Delete the model {found.name!r}?", yes)
        client.models.delete(found)
    if as_json:
        output.emit({"deleted": found.id})
    else:
        output.say(f"Deleted {found.name!r}.")


@app.command()
def predict(
    model: Model,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Picture files.")],
    top: Annotated[int, typer.Option("--top", min=1, help="So many classes per picture, the best first.")] = 3,
    as_json: Json = False,
) -> None:
    """Ask a model about pictures. A picture that cannot be used is named, the others are answered.

    \b
    Examples:
      trainshed predict flowers rose.jpg
      trainshed predict flowers *.jpg --top 1
      trainshed predict flowers rose.jpg --json
    """
    with output.connect() as client:
        found = client.models.find(model)
        answers = [_answer(client, found, image, top) for image in images]
    if as_json:
        output.emit(answers)
    else:
        _say_answers(answers)
    if any("problem" in answer for answer in answers):
        raise typer.Exit(1)


def _answer(client: Client, model: ModelView, image: Path, top: int) -> dict[str, Any]:
    """The prediction for one picture, or the problem with it; a problem with anything else is raised."""
    try:
        return {"image": str(image), **client.models.predict(model, image, top).model_dump()}
    except InvalidInput as error:
        return {"image": str(image), "problem": error.to_problem()}


def _say_answers(answers: list[dict[str, Any]]) -> None:
    rows = []
    for answer in answers:
        if "problem" in answer:
            output.note(f"{answer['image']}: {answer['problem']['detail']}")
        for place, score in enumerate(answer.get("predictions", [])):
            rows.append((answer["image"] if place == 0 else "", score["label"], f"{100 * score['score']:.1f} %"))
    if rows:
        output.table(("PICTURE", "CLASS", "SURE"), rows, "")


def _accuracy(model: ModelView) -> str:
    accuracy = model.metrics.get("accuracy")
    return f"{accuracy:.4f}" if isinstance(accuracy, (int, float)) else "-"
