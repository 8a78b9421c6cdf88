"""The form of a new training. Its fields are the recipe's own, so each is explained and checked in one place."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainshed.errors import Forbidden, IdempotencyMismatch, InvalidInput, NotFound
from trainshed.schemas import ClassificationRecipe, DatasetView
from trainshed.server.services import datasets, jobs, models, versions
from trainshed.server.web.door import Frame, page

_GOOD_BACKBONES = ("tf_efficientnet_lite0", "scratch-cnn")
_OPEN = ("backbone", "epochs", "image_size")
_LEFT_OUT = ("schema_version", "task")
_MOST_LISTED = 200


@dataclass(frozen=True)
class Entry:
    """One field of the form, or a group of them."""

    name: str
    label: str
    help: str
    type: str
    value: Any = ""
    default: Any = ""
    error: str = ""
    options: tuple[str, ...] = ()
    group: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Said:
    """What stands in the form, as text, whether it can be used or not."""

    dataset_id: str = ""
    name: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@page("GET", "POST")
def train(frame: Frame) -> HttpResponse:
    if not frame.may_work:
        raise Forbidden(_("A training needs the role editor."), hint=_("Ask an owner of the workspace for it."))
    asked = frame.request.GET
    if frame.request.method == "POST":
        return _start(frame, _read(frame.request.POST))
    if asked.get("clone"):
        return _form(frame, _copied(frame, asked["clone"]))
    return _form(frame, Said(dataset_id=asked.get("dataset") or _only_dataset(frame)))


def _only_dataset(frame: Frame) -> str:
    """Where there is nothing to choose, it is chosen."""
    found = datasets.visible(frame.actor, frame.place, cursor=None, limit=2).items
    return found[0].id if len(found) == 1 else ""


def _start(frame: Frame, said: Said) -> HttpResponse:
    """The training, or the form again with all that was typed and what is wrong with it."""
    errors = _errors_of_place(frame, said)
    try:
        recipe = ClassificationRecipe.model_validate(said.recipe)
    except ValidationError as error:
        return _form(frame, said, errors | _by_field(error))
    if errors:
        return _form(frame, said, errors)
    try:
        job = models.train_dataset(frame.actor, said.dataset_id, recipe, said.name, frame.place, said.key or None)
    except IdempotencyMismatch:
        again = Said(said.dataset_id, said.name, said.recipe)
        refusal = InvalidInput(
            _("This form has already started another training."),
            hint=_("Press the button again to start this one too."),
        )
        return _form(frame, again, {}, refusal)
    except InvalidInput as error:
        return _form(frame, said, {}, error)
    return redirect("job", workspace_id=job.workspace_id, project_id=job.project_id, job_id=job.id)


def _errors_of_place(frame: Frame, said: Said) -> dict[str, str]:
    """What is wrong beside the recipe."""
    errors = {}
    dataset = _dataset(frame, said.dataset_id)
    if dataset is None:
        errors["dataset"] = _("Choose the dataset to learn from.")
    elif len(dataset.classes) < 2:
        errors["dataset"] = _("It has pictures of fewer than two classes. Wait for its import to end, or add more.")
    if not said.recipe.get("backbone"):
        errors["backbone"] = _("Name the backbone.")
    if len(said.name) > 300:
        errors["name"] = _("At most 300 characters.")
    return errors


def _dataset(frame: Frame, dataset_id: str) -> DatasetView | None:
    try:
        return datasets.view(datasets.get(frame.actor, dataset_id, within=frame.place)) if dataset_id else None
    except NotFound:
        return None


def _by_field(error: ValidationError) -> dict[str, str]:
    """Field name -> what is wrong with it; `""` is for the recipe as a whole."""
    found = {}
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        words = problem["msg"].removeprefix("Value error, ").replace("Input should be", _("Must be"))
        words = {
            "int_parsing": _("Write a whole number."),
            "float_parsing": _("Write a number."),
            "string_pattern_mismatch": _("Write its name in timm."),
        }.get(problem["type"], words)
        found[".".join(map(str, problem["loc"]))] = words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
    return found


# What the form says


def _read(sent: QueryDict) -> Said:
    """The form as it was sent. An empty field means the default, which stands in it as a hint."""
    recipe = _read_fields(ClassificationRecipe, sent, "")
    chosen = sent.get("backbone", "")
    recipe["backbone"] = sent.get("other_backbone", "").strip() if chosen == "other" else chosen
    return Said(sent.get("dataset", ""), sent.get("name", "").strip(), recipe, sent.get("key", "")[:100])


def _read_fields(schema: type[BaseModel], sent: QueryDict, prefix: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, info in schema.model_fields.items():
        if name in _LEFT_OUT:
            continue
        if group := _group(info):
            read[name] = _read_fields(group, sent, f"{prefix}{name}.")
        elif info.annotation is bool:
            read[name] = f"{prefix}{name}" in sent
        elif typed := sent.get(f"{prefix}{name}", "").strip():
            read[name] = typed
    return read


def _copied(frame: Frame, job_id: str) -> Said:
    """The form filled in from an earlier training."""
    job = jobs.show(frame.actor, job_id, frame.place)
    if job.kind != "train":
        raise InvalidInput(_("Only a training can be trained again; this is another kind of job."))
    dataset_id = job.spec.get("dataset_id", "")
    if not dataset_id:
        dataset_id = versions.get(frame.actor, job.spec["version_id"], within=frame.place).dataset_id
    return Said(dataset_id, _next_name(job.spec.get("name", "")), job.spec["recipe"])


def _next_name(name: str) -> str:
    """`flowers` -> `flowers 2` -> `flowers 3`, so that two models can be told apart; no name stays none."""
    found = re.fullmatch(r"(.*) (\d{1,6})", name, re.DOTALL)
    stem, number = (found[1], int(found[2])) if found else (name, 1)
    return f"{stem} {number + 1}" if name else ""


# What the form shows


def _form(
    frame: Frame, said: Said, errors: dict[str, str] | None = None, refusal: InvalidInput | None = None
) -> HttpResponse:
    errors = errors or {}
    if "" in errors:
        refusal = InvalidInput(errors[""])
    entries = _entries(ClassificationRecipe, said.recipe, errors, "")
    chosen = said.recipe.get("backbone", _GOOD_BACKBONES[0])
    dataset = _dataset(frame, said.dataset_id)
    listed = list(datasets.visible(frame.actor, frame.place, cursor=None, limit=_MOST_LISTED).items)
    if dataset and dataset.id not in {choice.id for choice in listed}:
        listed.append(dataset)  # one of the oldest
    return frame.show(
        "trainings/train.html",
        status=422 if errors or refusal else 200,
        section="models",
        origin=dataset if frame.request.GET.get("dataset") else None,
        said=said,
        errors=errors,
        refusal=refusal,
        datasets=listed,
        dataset=dataset,
        other_backbone="" if chosen in _GOOD_BACKBONES else chosen,
        backbone=chosen if chosen in _GOOD_BACKBONES else "other",
        entries={entry.name: entry for entry in entries if entry.name in _OPEN},
        advanced=[entry for entry in entries if entry.name not in _OPEN],
        advanced_is_open=bool({name.split(".")[0] for name in errors} - {*_OPEN, "dataset", "name"}),
    )


def _entries(schema: type[BaseModel], values: dict[str, Any], errors: dict[str, str], prefix: str) -> list[Entry]:
    return [
        _entry(prefix + name, info, values.get(name), errors)
        for name, info in schema.model_fields.items()
        if name not in _LEFT_OUT
    ]


def _entry(name: str, info: FieldInfo, value: Any, errors: dict[str, str]) -> Entry:
    label = _label(name.rsplit(".", maxsplit=1)[-1], info)
    if group := _group(info):
        return Entry(
            name, label, info.description or "", "group", group=_entries(group, value or {}, errors, f"{name}.")
        )
    default = "" if info.default is None else info.default
    return Entry(
        name,
        label,
        info.description or "",
        _type(info),
        default if value is None and info.default is not None else value,
        default,
        errors.get(name, ""),
        tuple(map(str, get_args(info.annotation))) if get_origin(info.annotation) is Literal else (),
    )


def settings(recipe: dict[str, Any], schema: type[BaseModel] = ClassificationRecipe) -> list[tuple[str, Any]]:
    """What a recipe says as (label, value), groups unfolded; nothing of a job that has none."""
    rows: list[tuple[str, Any]] = []
    for name, info in schema.model_fields.items():
        if name in recipe and name not in _LEFT_OUT:
            label, group = _label(name, info), _group(info)
            parts = settings(recipe[name], group) if group else []
            rows += [(f"{label}: {part}", value) for part, value in parts] if group else [(label, recipe[name])]
    return rows


def _label(name: str, info: FieldInfo) -> str:
    return info.title or name.replace("_", " ").capitalize()


def _group(info: FieldInfo) -> type[BaseModel] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type(info: FieldInfo) -> str:
    kinds = {info.annotation, *get_args(info.annotation)}
    if get_origin(info.annotation) is Literal:
        return "select"
    if bool in kinds:
        return "checkbox"
    return "whole" if int in kinds else "number" if float in kinds else "text"
