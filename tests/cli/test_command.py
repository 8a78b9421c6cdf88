"""The root of the command: help, speed, mistakes, and what it never imports."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from trainshed.cli import main
from trainshed.testing.fake_server import FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


PYTHON = [sys.executable, "-m", "trainshed"]
FAST_SECONDS = 0.15


def all_commands() -> list[tuple[str, ...]]:
    """Every command by its words, the internal ones too."""
    root = get_command(main.app)
    assert isinstance(root, TyperGroup)
    found: list[tuple[str, ...]] = []
    for name in [*root.list_commands(None), *main._INTERNAL]:
        command = root.get_command(None, name)
        found += [(name, inner) for inner in command.commands] if isinstance(command, TyperGroup) else [(name,)]
    return found


def test_help_shows_every_command_in_its_section_with_examples(trainshed: Trainshed) -> None:
    said = trainshed("--help")

    assert said.code == 0
    for section, commands in main._SECTIONS.items():
        assert f"{section}:" in said.out
        for name, (_, words) in commands.items():
            assert name in said.out
            assert words in said.out
    assert "trainshed dataset import ./flowers" in said.out
    assert "model-server" not in said.out


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_every_command_explains_itself_and_all_its_options(trainshed: Trainshed, words: tuple[str, ...]) -> None:
    if words == ("runner",):
        pytest.skip("it hands all its arguments on")
    said = trainshed(*words, "--help")

    assert said.code == 0
    assert "Usage: trainshed" in said.out
    options = said.out.partition("Options:")[2]
    assert "-h, --help" in options
    if words[0] not in main._INTERNAL:
        assert "--json" in options


def test_examples_in_the_help_name_real_commands_and_options(trainshed: Trainshed) -> None:
    num_examples = 0
    for words in [(), *all_commands()]:
        if words == ("runner",):
            continue
        for line in trainshed(*words, "--help").out.splitlines():
            example = line.partition("trainshed ")[2] if line.startswith("    ") and "trainshed " in line else ""
            if example and not example.startswith(("COMMAND", "dataset import FOLDER")):
                num_examples += 1
                path = [word for word in example.split() if word.isidentifier() or word == "model-server"]
                assert any(tuple(path[: len(known)]) == known for known in all_commands()), line
    assert num_examples > 25


@pytest.mark.parametrize("group", ["dataset", "jobs", "models", "token"])
def test_a_group_alone_shows_its_help(trainshed: Trainshed, group: str) -> None:
    said = trainshed(group)

    assert said.code == 2
    assert "Commands:" in said.out + said.err


def test_the_version_is_told(trainshed: Trainshed) -> None:
    assert trainshed("--version").out == "trainshed 0.1.0\n"


def test_help_answers_at_once() -> None:
    """Processor time beyond Python's own start, the best of five, so that a busy machine does not lie."""

    def seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command], check=True, stdout=subprocess.DEVNULL, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare = min(seconds(sys.executable, "-c", "pass") for _ in range(5))
    helped = min(seconds(*PYTHON, "--help") for _ in range(5))

    assert helped - bare < FAST_SECONDS


def test_no_command_imports_torch_or_django_or_the_driver_to_explain_itself() -> None:
    code = (
        "import sys\n"
        "from trainshed.cli import main\n"
        "from typer.main import get_command\n"
        "root = get_command(main.app)\n"
        "for name in [*root.list_commands(None), *main._INTERNAL]:\n"
        "    root.get_command(None, name)\n"
        "    if name != 'train':\n"
        "        heavy = {'httpx', 'rich'} & set(sys.modules)\n"
        "        assert not heavy, (name, heavy)\n"
        "walls = {'torch', 'django', 'pynvml', 'psutil', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
        "assert not walls, walls\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("gpus",),
        ("jobs", "list"),
        ("models", "list"),
        ("dataset", "list"),
        ("train", "flowers", "--no-watch"),
    ],
    ids=" ".join,
)
def test_a_command_that_works_imports_neither_torch_nor_django_nor_the_driver(
    signed_in: FakeServer, arguments: tuple[str, ...]
) -> None:
    code = (
        "import atexit, sys\n"
        "from trainshed.cli import main\n"
        "def look():\n"
        "    walls = {'torch', 'django', 'pynvml', 'onnxruntime'} & set(sys.modules)\n"
        "    print('WALLS', sorted(walls), file=sys.stderr)\n"
        "atexit.register(look)\n"
        f"main.run({list(arguments)!r})\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert "WALLS []" in told.stderr


def test_an_unknown_command_is_not_understood_and_a_near_one_is_named(trainshed: Trainshed) -> None:
    said = trainshed("job")

    assert said.code == 2
    assert "No such command 'job'" in said.err
    assert said.out == ""


def test_a_mistake_in_the_arguments_is_a_problem_document_with_json(trainshed: Trainshed) -> None:
    said = trainshed("jobs", "show", "--json")

    assert said.code == 2
    assert said.json()["code"] == "invalid_input"
    assert "JOB" in said.json()["detail"]
    assert said.err == ""


def test_a_failure_is_told_on_stderr_with_what_to_do(trainshed: Trainshed) -> None:
    said = trainshed("dataset", "list")

    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("Error: http://127.0.0.1:9 does not answer")
    assert "trainshed up" in said.err


def test_a_failure_is_a_problem_document_on_stdout_with_json(
    trainshed: Trainshed, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_URL", server.url)
    monkeypatch.setenv("TRAINSHED_TOKEN", "wrong")
    said = trainshed("jobs", "list", "--json")

    assert said.code == 1
    assert said.err == ""
    problem = said.json()
    assert (problem["code"], problem["status"]) == ("not_signed_in", 401)
    assert problem["hint"]


def test_a_reader_that_goes_away_ends_the_command_quietly(signed_in: FakeServer) -> None:
    command = subprocess.Popen([*PYTHON, "jobs", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.stdout and command.stderr
    command.stdout.close()
    error = command.stderr.read().decode()
    command.stderr.close()

    assert command.wait(60) in (0, 1)
    assert "Traceback" not in error
    assert "Exception" not in error


def test_an_interrupted_command_says_so_and_exits_with_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**os.environ, "TRAINSHED_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        command = subprocess.Popen(
            [*PYTHON, "jobs", "list"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(4)  # it has asked, and waits for an answer that never comes
            command.send_signal(signal.SIGINT)
            _, error = command.communicate(timeout=60)

    assert command.returncode == 130
    assert b"Traceback" not in error


def test_control_characters_from_a_server_never_reach_the_terminal(trainshed: Trainshed, signed_in: FakeServer) -> None:
    from trainshed import Client

    with Client() as client:
        client.datasets.create("evil\x1b[2J\x07 猫 👩‍👩‍👧")

    said = trainshed("dataset", "list")
    assert "\x1b" not in said.out
    assert "\x07" not in said.out
    assert "evil�[2J� 猫 👩‍👩‍👧" in said.out
