"""The doctor: it looks, it never makes anything, and it says what to do."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainshed.cli import doctor
from trainshed.client import credentials
from trainshed.testing.fake_server import EMAIL, FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


def test_a_well_machine_passes_with_every_check_named(trainshed: Trainshed, signed_in: FakeServer) -> None:
    said = trainshed("doctor", "--json")

    checks = {check["name"]: check for check in said.json()}
    assert {
        "python",
        "extra server",
        "extra vision",
        "settings",
        "home",
        "disk",
        "database",
        "server",
        "token",
    } <= set(checks)
    assert checks["token"]["words"] == f"you are Ada ({EMAIL})"
    assert said.code == int(any(check["state"] == "fail" for check in checks.values()))
    assert all(check["advice"] for check in checks.values() if check["state"] == "warn")


def test_nothing_is_made_by_looking(trainshed: Trainshed, signed_in: FakeServer, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    trainshed("doctor")

    assert sorted(tmp_path.rglob("*")) == before


def test_lines_begin_with_how_it_is_and_end_with_what_to_do(
    trainshed: Trainshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_URL", "http://127.0.0.1:9")
    said = trainshed("doctor")

    assert said.code == 1
    assert "FAIL server: http://127.0.0.1:9 does not answer" in said.out
    assert "     -> Is it running? `trainshed up` starts it." in said.out
    assert said.out.startswith("ok   python: ")


def test_a_server_nobody_asked_for_may_be_off(trainshed: Trainshed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_PORT", "9")
    checks = {check.name: check for check in doctor.check_server()}

    assert checks["server"].state == "warn"
    assert "port" in checks


def test_a_port_in_use_by_another_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("TRAINSHED_PORT", str(taken.getsockname()[1]))
        check = doctor.check_port()

    assert check.state == "fail"
    assert "in use" in check.words
    assert "TRAINSHED_PORT" in check.advice


def test_a_token_that_no_longer_works_fails_and_a_missing_one_warns(
    signed_in: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.save(signed_in.url, credentials.Credential("revoked"))
    assert [(it.name, it.state) for it in doctor.check_server()] == [("server", "ok"), ("token", "fail")]
    credentials.forget(signed_in.url)
    monkeypatch.setenv("TRAINSHED_URL", signed_in.url)
    assert [(it.name, it.state) for it in doctor.check_server()] == [("server", "ok"), ("token", "warn")]


def test_broken_credentials_are_told(trainshed: Trainshed) -> None:
    credentials.path().parent.mkdir(parents=True)
    credentials.path().write_text("{")

    [check] = doctor.check_server()
    assert check.state == "fail"
    assert "credentials.json" in check.words


def test_a_setting_that_is_no_number_fails_with_its_name(trainshed: Trainshed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_PORT", "many")
    said = trainshed("doctor", "--json")

    assert said.code == 1
    assert said.json()[-1]["words"] == "TRAINSHED_PORT is 'many'; it must be a number."


def test_changed_settings_are_named_and_their_values_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_SECRET_KEY", "do not tell")

    words = doctor.check_settings().words
    assert "TRAINSHED_SECRET_KEY" in words
    assert "do not tell" not in words


def test_a_home_that_is_a_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path / "file" / "home"))

    [check] = doctor.check_home()
    assert (check.state, check.name) == ("fail", "home")
    assert "TRAINSHED_HOME" in check.advice


@pytest.mark.parametrize(("least", "comfortable", "state"), [(2**60, 2**61, "fail"), (1, 2**61, "warn"), (1, 2, "ok")])
def test_a_full_disk_fails_and_a_small_one_warns(
    monkeypatch: pytest.MonkeyPatch, least: int, comfortable: int, state: str
) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", least)
    monkeypatch.setattr(doctor, "COMFORTABLE_FREE_BYTES", comfortable)

    assert [check.state for check in doctor.check_home()] == ["ok", state]


@pytest.mark.parametrize(
    ("url", "state", "words"),
    [
        ("", "ok", "SQLite"),
        ("mysql://u:secret@host/db", "fail", "not a PostgreSQL address"),
        ("postgresql://u:secret@127.0.0.1:9/db", "fail", "no PostgreSQL at 127.0.0.1:9"),
        ("postgresql://u:secret@127.0.0.1:port/db", "fail", "no number"),
    ],
)
def test_the_database_is_looked_at_and_its_password_never_shown(
    monkeypatch: pytest.MonkeyPatch, url: str, state: str, words: str
) -> None:
    monkeypatch.setenv("TRAINSHED_DATABASE_URL", url)

    check = doctor.check_database()
    assert (check.state, words in check.words) == (state, True)
    assert "secret" not in check.words + check.advice


def test_a_database_that_listens_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setenv("TRAINSHED_DATABASE_URL", f"postgresql://u@127.0.0.1:{port}/db")
        assert doctor.check_database().words == f"PostgreSQL listens at 127.0.0.1:{port}"


def test_missing_packages_are_named_with_the_command_that_brings_them() -> None:
    requirements = [
        "httpx>=0.28",
        "pytest>=8; extra == 'server'",
        "no-such-package[x]>=1; extra == 'server'",
        "only-elsewhere>=2; platform_machine == 'pdp11' and extra == 'server'",
        "pytest; extra == 'vision'",
    ]
    server, vision = doctor.check_extras(requirements)

    assert (server.state, vision.state) == ("warn", "ok")
    assert server.words == "no-such-package not installed; needed to run the service."
    assert server.advice == "pip install 'trainshed[server]'"


def test_our_own_metadata_says_what_an_extra_needs() -> None:
    requirements = importlib.metadata.requires("trainshed") or []

    assert {"django", "psutil", "psycopg"} <= set(doctor.packages_of("server", requirements))
    assert "torch" in doctor.packages_of("vision", requirements)
    assert "torch" not in doctor.packages_of("server", requirements)


def test_missing_weights_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHIPPED_WEIGHTS", "no_such_package")

    check = doctor.check_weights()
    assert check.state == "warn"
    assert "trainshed[vision]" in check.advice


def _with_driver(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> list[doctor.Check]:
    """The doctor's answer when the process that asks the driver is this shell script."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return list(doctor.check_gpus())


def test_cards_are_told_one_by_one_and_a_faulty_one_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading = (
        '{"hostname": "h", "cpu_count": 2, "driver": "575", "gpu_state": "ok", "gpus": ['
        '{"index": 0, "name": "NVIDIA A10", "memory_total_bytes": 24000000000}, '
        '{"index": 1, "fault": "Lost."}]}'
    )
    good, bad = _with_driver(monkeypatch, tmp_path, f"echo '{reading}'")

    assert (good.state, good.words) == ("ok", "NVIDIA A10, 24.0 GB, driver 575")
    assert (bad.state, bad.name) == ("fail", "gpu 1")


@pytest.mark.parametrize(
    ("state", "verdict"), [("none", "ok"), ("no_driver", "ok"), ("mismatch", "fail"), ("forbidden", "fail")]
)
def test_no_card_is_well_and_a_broken_driver_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str, verdict: str
) -> None:
    reading = f'{{"hostname": "h", "cpu_count": 2, "gpu_state": "{state}", "gpu_state_words": "Words."}}'

    [check] = _with_driver(monkeypatch, tmp_path, f"echo '{reading}'")
    assert check.state == verdict
    assert "Words." in check.words


def test_a_driver_that_hangs_does_not_hang_the_doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DRIVER_SECONDS", 0.2)

    [check] = _with_driver(monkeypatch, tmp_path, "exec sleep 60")
    assert check.state == "fail"
    assert "has not answered" in check.words


def test_a_reading_that_crashes_is_a_warning_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [check] = _with_driver(monkeypatch, tmp_path, "echo first >&2; echo the last words. >&2; exit 3")
    assert (check.state, check.words) == ("warn", "they cannot be read: the last words.")
