"""The file of tokens: several servers, one last used, nobody else's business."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trainshed.client import credentials
from trainshed.client.client import address
from trainshed.client.credentials import Credential
from trainshed.errors import InvalidInput

ONE, TWO = "http://one.example", "https://two.example:8765"


def test_nothing_is_known_at_first() -> None:
    assert credentials.read() == credentials.Credentials()


def test_what_was_saved_last_is_used_and_the_others_are_kept() -> None:
    credentials.save(ONE, Credential("first", "ada@example.org", "t1"))
    credentials.save(TWO + "/", Credential("second"))

    known = credentials.read()
    assert known.last_url == TWO
    assert known.servers == {ONE: Credential("first", "ada@example.org", "t1"), TWO: Credential("second")}


def test_a_new_token_replaces_the_old_one_of_the_same_server() -> None:
    credentials.save(ONE, Credential("old"))
    credentials.save("HTTP://One.example/", Credential("new"))

    assert credentials.read().servers == {ONE: Credential("new")}


def test_only_its_owner_can_read_the_file_and_its_folder() -> None:
    credentials.save(ONE, Credential("secret"))
    credentials.path().chmod(0o644)
    credentials.save(ONE, Credential("secret"))

    assert stat.S_IMODE(credentials.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(credentials.path().parent.stat().st_mode) == 0o700
    assert [path.name for path in credentials.path().parent.iterdir()] == ["credentials.json"]


def test_forgetting_the_last_server_leaves_another_one_as_the_last() -> None:
    credentials.save(ONE, Credential("first"))
    credentials.save(TWO, Credential("second"))

    assert credentials.forget(TWO)
    assert credentials.read().last_url == ONE
    assert credentials.forget(ONE)
    assert credentials.read() == credentials.Credentials()
    assert not credentials.forget(ONE)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"servers": {"http://a": "token"}}', '{"servers": {"http://a": {}}}']
)
def test_a_broken_file_is_told_with_its_path_and_never_overwritten(content: str) -> None:
    credentials.path().parent.mkdir(parents=True)
    credentials.path().write_text(content)

    with pytest.raises(InvalidInput, match=r"credentials\.json is not a credentials file") as caught:
        credentials.save(ONE, Credential("new"))
    assert "trainshed login" in caught.value.hint
    assert credentials.path().read_text() == content


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))

    with pytest.raises(InvalidInput, match=r"cannot be (kept|read)"):
        credentials.save(ONE, Credential("new"))


def test_arguments_go_before_settings_and_settings_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert address() == ("http://127.0.0.1:8765", "")
    credentials.save(ONE, Credential("of one"))
    credentials.save(TWO, Credential("of two"))
    assert address() == (TWO, "of two")
    assert address("one.example") == (ONE, "of one")
    monkeypatch.setenv("TRAINSHED_URL", ONE)
    assert address() == (ONE, "of one")
    monkeypatch.setenv("TRAINSHED_TOKEN", "of the environment")
    assert address() == (ONE, "of the environment")
    assert address(TWO, "of the call") == (TWO, "of the call")


def test_a_token_never_goes_to_a_server_it_was_not_made_for() -> None:
    credentials.save(ONE, Credential("of one"))

    assert address("http://stranger.example") == ("http://stranger.example", "")
