"""The one table of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainshed.errors import StartRefused
from trainshed.schemas import settings
from trainshed.schemas.settings import TABLE, Setting

NUMBERS = [setting for setting in TABLE.values() if setting.kind in ("int", "float", "bytes")]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TABLE:
        monkeypatch.delenv(name, raising=False)


def test_every_setting_has_a_name_of_ours_a_known_kind_and_a_sentence_of_help() -> None:
    for setting in TABLE.values():
        assert setting.name.startswith("TRAINSHED_") and setting.name == setting.name.upper()
        assert setting.kind in ("text", "int", "float", "bytes", "secret"), setting.name
        assert setting.help.endswith("."), setting.name


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_every_default_parses(setting: Setting) -> None:
    assert settings.number(setting.name) == float(setting.default)
    if setting.kind != "float":
        assert settings.whole(setting.name) == int(setting.default)


def test_no_secret_has_a_default() -> None:
    secrets = [setting for setting in TABLE.values() if setting.kind == "secret"]
    assert secrets and not any(setting.default for setting in secrets)


def test_the_environment_comes_first_and_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.text("TRAINSHED_HOST") == "127.0.0.1"
    monkeypatch.setenv("TRAINSHED_HOST", "192.0.2.1")
    assert settings.text("TRAINSHED_HOST") == "192.0.2.1"
    monkeypatch.setenv("TRAINSHED_HOST", "")
    assert settings.text("TRAINSHED_HOST") == "127.0.0.1"


def test_a_number_is_read_as_people_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_LEASE_SECONDS", " 2.5 ")
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", "5e9")
    assert settings.number("TRAINSHED_LEASE_SECONDS") == 2.5
    assert settings.whole("TRAINSHED_CACHE_BYTES") == 5_000_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("many", "a number"),
        ("0x10", "a number"),
        ("-1", "0 or more"),
        ("nan", "0 or more"),
        ("inf", "0 or more"),
        ("2.5", "a whole number"),
    ],
)
def test_a_bad_number_is_refused_with_name_value_and_what_was_expected(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    monkeypatch.setenv("TRAINSHED_CPU_SLOTS", value)
    with pytest.raises(StartRefused) as refused:
        settings.whole("TRAINSHED_CPU_SLOTS")
    assert refused.value.message == f"TRAINSHED_CPU_SLOTS is '{value}'; it must be {expected}."
    assert refused.value.hint == TABLE["TRAINSHED_CPU_SLOTS"].help


def test_the_home_is_absolute_and_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.home() == tmp_path / ".trainshed"
    monkeypatch.setenv("TRAINSHED_HOME", "near")
    assert settings.home() == tmp_path / "near"
    assert not settings.home().exists()
