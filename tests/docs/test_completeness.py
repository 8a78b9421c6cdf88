"""Every setting, route, kind, state, error, command and field is documented, and nothing that is not there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs import pages
from docs.pages import PAGES, REPOSITORY
from trainshed import errors
from trainshed.cli.main import app
from trainshed.schemas import ClassificationRecipe, JobKind, JobState, SplitPlan
from trainshed.schemas.jobs import EventKind
from trainshed.schemas.settings import TABLE

PROJECT = "/workspaces/{workspace_id}/projects/{project_id}"
_ON_EVERY_COMMAND = {"--json", "--help", "-h", "--workspace", "--project"}
_FOR_TESTS = {"TRAINSHED_TEST_DATABASE"}


# Settings


@pytest.mark.parametrize("name", TABLE)
def test_a_setting_is_documented_with_its_default_and_help(name: str) -> None:
    default, help_ = pages.rows("docs/settings.md")[name]
    assert default.partition(" ")[0].strip("`") == (TABLE[name].default or "–")
    assert help_ == TABLE[name].help


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_a_page_names_only_settings_that_exist(page: Path) -> None:
    named = set(re.findall(r"\bTRAINSHED_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named <= TABLE.keys() | _FOR_TESTS


# Routes and errors


def test_every_route_is_documented_and_no_other(django: None) -> None:
    from trainshed.server.api.main import api
    from trainshed.server.streams.routes import API, openapi_paths

    paths = {**api.get_openapi_schema()["paths"], **openapi_paths()}
    served = {f"{method.upper()} {path.removeprefix(API)}" for path, item in paths.items() for method in item}
    assert len(served) > 50
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    told = {row.replace(" P/", f" {PROJECT}/") for row in pages.rows("docs/rest.md") if row.split()[0] in methods}
    assert told == served


@pytest.mark.parametrize("code", errors.BY_CODE)
def test_an_error_is_documented_with_its_status(code: str) -> None:
    assert pages.rows("docs/rest.md")[code][0] == str(errors.BY_CODE[code].status)


def test_every_refusal_to_start_is_told_in_troubleshooting() -> None:
    told = pages.read("docs/troubleshooting.md")
    refusals = list(_refusals())
    assert len(refusals) > 15
    assert [words for words in refusals if words not in told] == []


def _refusals() -> Iterator[str]:
    """The longest fixed part of the message of each `raise StartRefused(...)` in the source."""
    for file in sorted((REPOSITORY / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "StartRefused" and node.args:
                message = node.args[0]
                parts = message.values if isinstance(message, ast.JoinedStr) else [message]
                yield max((str(part.value) for part in parts if isinstance(part, ast.Constant)), key=len).strip(" .:;")


# Jobs


@pytest.mark.parametrize("word", [*get_args(JobKind), *get_args(JobState), *get_args(EventKind)])
def test_a_kind_of_job_or_event_and_a_state_is_documented(word: str) -> None:
    assert word in pages.rows("docs/jobs.md")


# Commands


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(the words of each command, the command) of the whole tree."""
    names = command.list_commands(None) if hasattr(command, "list_commands") else []
    if not names:
        yield path, command
    for name in names:
        yield from commands(command.get_command(None, name), (*path, name))


def options(command: Any) -> set[str]:
    """The long names of a command's options."""
    flags = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    return {flag for flag in flags if flag.startswith("--")}


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_documented_with_its_options(words: tuple[str, ...]) -> None:
    command = " ".join(("trainshed", *words))
    rows = [" ".join(cells) for row, cells in pages.rows("docs/cli.md").items() if f"{row} ".startswith(f"{command} ")]
    assert len(rows) == 1
    told = set(re.findall(r"`(--[a-z-]+)", rows[0]))
    if words == ("train",):
        told |= set(re.findall(r"`(--[a-z-]+)", pages.read("docs/training.md")))
    assert options(COMMANDS[words]) - _ON_EVERY_COMMAND <= told


def test_the_pages_show_commands() -> None:
    assert len([*shown_commands()]) > 15


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of each `trainshed ...` line in a shell block."""
    for page in PAGES:
        for block in pages.blocks(page):
            for line in block.code.splitlines() if block.language == "shell" else ():
                if line.removeprefix(".venv/bin/").startswith("trainshed "):
                    yield pages.name(page), shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize(("page", "words"), [*shown_commands()], ids=lambda value: str(value)[:60])
def test_a_command_that_a_page_shows_exists_with_its_options(page: str, words: list[str]) -> None:
    found = next(path for path in COMMANDS if tuple(words[: len(path)]) == path)
    used = {word for word in words if word.startswith("--")}
    assert used <= options(COMMANDS[found]) | _ON_EVERY_COMMAND


# Fields


def fields(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{prefix}{name}.")
        elif name not in ("schema_version", "task"):
            yield f"{prefix}{name}", field


@pytest.mark.parametrize(("name", "field"), [*fields(ClassificationRecipe)], ids=lambda value: str(value)[:30])
def test_a_field_of_the_recipe_is_documented_with_its_option_default_and_help(name: str, field: FieldInfo) -> None:
    option, default, help_ = pages.rows("docs/training.md")[name]
    assert option.startswith(f"`--{name.rpartition('.')[2].replace('_', '-')}`")
    assert default == ("on" if field.default is True else "–" if field.default is None else str(field.default))
    assert help_ == field.description


@pytest.mark.parametrize(("name", "field"), [*fields(SplitPlan)], ids=lambda value: str(value)[:30])
def test_a_field_of_the_split_is_documented_with_its_default_and_help(name: str, field: FieldInfo) -> None:
    assert pages.rows("docs/datasets.md")[name] == [str(field.default), field.description]


# Links


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_every_relative_link_of_a_page_resolves(page: Path) -> None:
    broken = []
    for link in pages.links(page):
        where, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / where).resolve() if where else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = {(REPOSITORY / link.partition("#")[0]).resolve() for link in pages.links(REPOSITORY / "README.md")}
    assert [pages.name(page) for page in (REPOSITORY / "docs").glob("*.md") if page not in linked] == []
