"""`trainshed train`: its options are the recipe's own fields, with their own help."""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainshed.cli import output
from trainshed.cli.datasets import Dataset
from trainshed.cli.output import Json
from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import ClassificationRecipe, DatasetView, SplitPlan, VersionView

if TYPE_CHECKING:
    from trainshed.client import Client

app = output.command_group()
_FIXED = ("schema_version", "task")
# An option of the command -> the part of the training and the field (of a part of it) that the option sets.
Target = tuple[str, tuple[str, ...]]
_targets: dict[str, Target] = {}


def train(
    dataset: Dataset,
    version: Annotated[
        str | None,
        typer.Option("--version", help="A version's number or id; default: the newest, or a new one."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="The model's name; default: from dataset, version and backbone.")
    ] = "",
    watch: Annotated[
        bool | None,
        typer.Option("--watch/--no-watch", help="Show it until it ends. Default: yes, but not with --json."),
    ] = None,
    as_json: Json = False,
    **chosen: Any,
) -> None:
    """Train a classifier on a dataset. Every default works; change one thing at a time.

    The newest version of the dataset is used; a new one is made if there is none or if the dataset has
    changed since. Ctrl-C detaches from the training and does not stop it.

    \b
    Examples:
      trainshed train flowers
      trainshed train flowers --epochs 30 --no-flip --name "flowers, longer"
      trainshed train digits --backbone scratch-cnn --image-size 32
      trainshed train flowers --version 2 --no-watch
    """
    from trainshed.cli import watching

    recipe = _checked(ClassificationRecipe, _part("recipe", chosen))
    split = _part("split", chosen)
    if version and split:
        raise InvalidInput("A version has its split already; --version does not go with split options.")
    with output.connect() as client:
        found = client.datasets.find(dataset)
        source = _version(client, found, version) if version else found
        job = client.train(source, recipe, name, _checked(SplitPlan, split) if split else None)
        if watch is None:
            watch = not as_json
        if watch:
            job = watching.watch(client, job, as_json)
        elif as_json:
            output.emit(job)
        else:
            output.say(f"Queued {job.title!r} ({job.id}). Watch it with: trainshed jobs watch {job.id}")
    if watch and not as_json:
        for line in watching.result_lines(job):
            output.say(line)
        model = (job.result or {}).get("model_id", "MODEL")
        output.say(f"Next: trainshed predict {model} PICTURE")


def _version(client: Client, dataset: DatasetView, wanted: str) -> VersionView:
    versions = list(client.versions.list(dataset))
    for version in versions:
        if wanted in (version.id, str(version.number)):
            return version
    numbers = ", ".join(str(version.number) for version in versions) or "none"
    raise NotFound(f"{dataset.name!r} has no version {wanted!r}.", hint=f"Its versions: {numbers}.")


def _part(part: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """What was chosen for one part, as the nested fields of its schema."""
    fields: dict[str, Any] = {}
    for option, value in chosen.items():
        target_part, path = _targets[option]
        if target_part != part or value is None:
            continue
        inner = fields
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value.value if isinstance(value, enum.Enum) else value
    return fields


def _checked(kind: type[Any], fields: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problems = [{"field": ".".join(str(step) for step in it["loc"]), "message": it["msg"]} for it in error.errors()]
        words = "; ".join(f"{it['field']}: {it['message']}" if it["field"] else it["message"] for it in problems)
        raise InvalidInput(f"The recipe cannot be used: {words}.", details=problems) from error


def _options() -> Iterator[inspect.Parameter]:
    """One option per field of the recipe and of the split."""
    for path, field in _fields_of(ClassificationRecipe, ()):
        yield _option(path[-1], ("recipe", path), field)
    for path, field in _fields_of(SplitPlan, ()):
        yield _option("split_seed" if path == ("seed",) else path[-1], ("split", path), field)


def _fields_of(kind: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in kind.model_fields.items():
        if name in _FIXED:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields_of(field.annotation, (*path, name))
        else:
            yield (*path, name), field


def _option(name: str, target: Target, field: FieldInfo) -> inspect.Parameter:
    """The option that sets one field; not given, it leaves the field alone, whose default the help names."""
    _targets[name] = target
    kind = _kind_of(name, field.annotation)
    flag = f"--{name.replace('_', '-')}"
    declared = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    default = "" if field.default is None else f"  [default: {_words(field.default)}]"
    option = typer.Option(declared, help=f"{field.description or ''}{default}", show_default=False)
    annotation = Annotated[kind | None, option]  # type: ignore[valid-type]  # it is a value here
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind_of(name: str, annotation: Any) -> Any:
    """The type that the command line reads: choices as an enumeration, `X | None` as X."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(kind for kind in get_args(annotation) if kind is not type(None))
    if get_origin(annotation) is Literal:
        return enum.Enum(name, {str(choice): str(choice) for choice in get_args(annotation)})
    return annotation


def _words(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    """`function` with the recipe's fields in its signature, where Typer looks for options."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[:-1]
    parameters = [it.replace(kind=inspect.Parameter.KEYWORD_ONLY) for it in own] + list(_options())

    def command(**chosen: Any) -> None:
        function(**chosen)

    command.__doc__ = function.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {it.name: it.annotation for it in parameters}
    return command


app.command("train")(_with_options(train))
