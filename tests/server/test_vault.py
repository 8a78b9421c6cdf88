"""Secrets at rest: sealed to what they belong to, and moved to a new key without losing one."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api_client import make_person
from trainshed.errors import StartRefused, TrainshedError
from trainshed.server import vault


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, where no key has been made yet."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path))
    return tmp_path


def _key(name: str) -> str:
    return f"{name}:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"


def test_what_was_sealed_opens_again_and_never_looks_the_same(home):
    sealed = [vault.seal("a secret, ü", belongs_to="me") for _ in range(3)]
    assert {vault.unseal(each, belongs_to="me") for each in sealed} == {"a secret, ü"}
    assert len(set(sealed)) == 3 and not any("secret" in each for each in sealed)


def test_a_secret_opens_only_for_what_it_belongs_to(home):
    sealed = vault.seal("a secret", belongs_to="grant 1")
    for other in ("grant 2", "grant 11", ""):
        with pytest.raises(TrainshedError, match="changed or moved"):
            vault.unseal(sealed, belongs_to=other)


def test_a_sealed_text_that_was_changed_anywhere_is_refused(home):
    sealed = vault.seal("a secret", belongs_to="me")
    for position, character in enumerate(sealed):
        # The next letter differs in a high bit; the last one of base64 may hold bits that mean nothing.
        other = "A" if character != "A" else "Q"
        with pytest.raises(TrainshedError):
            vault.unseal(f"{sealed[:position]}{other}{sealed[position + 1 :]}", belongs_to="me")
    for broken in ("", ".", "..", "k", sealed.rpartition(".")[0], sealed[:-4], f"{sealed}AAAA", f"{sealed}é"):
        with pytest.raises(TrainshedError):
            vault.unseal(broken, belongs_to="me")


def test_an_older_key_still_opens_and_the_newest_seals(home, monkeypatch):
    old, new = _key("old"), _key("new")
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", old)
    sealed = vault.seal("a secret", belongs_to="me")
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", f"{new}, {old}")
    assert vault.unseal(sealed, belongs_to="me") == "a secret" and not vault.is_sealed_under_newest(sealed)
    assert vault.seal("another", belongs_to="me").startswith("new.")
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", new)
    with pytest.raises(TrainshedError, match="'old'"):
        vault.unseal(sealed, belongs_to="me")
    assert list(home.iterdir()) == [home / "run"], "the setting's keys are kept nowhere"


@pytest.mark.parametrize("given", ["nonsense", "k1:", "k1:AAAA", f"k.1:{'A' * 43}", f":{'A' * 43}", "k1:ä", ","])
def test_a_setting_that_holds_no_good_key_refuses_the_start(home, monkeypatch, given):
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", given)
    with pytest.raises(StartRefused, match="TRAINSHED_ENCRYPTION_KEYS"):
        vault.keys()


def test_keys_that_the_setting_gives_are_not_changed_by_us(home, monkeypatch):
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", _key("k1"))
    with pytest.raises(StartRefused, match="come from"):
        vault.add_key()


def test_every_file_of_keys_is_for_its_owner_alone(home):
    vault.keys()
    vault.signing_key()
    vault.add_key()
    vault.drop_old_keys()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir() if path.is_file()}
    assert files == {"encryption_keys": 0o600, "oidc_signing_key.pem": 0o600}


def test_two_processes_that_start_together_have_one_key(home):
    command = [sys.executable, "-c", "from trainshed.server import vault; print(*vault.keys())"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = {process.communicate(timeout=60)[0] for process in started}
    assert len(said) == 1 and said.pop().strip() == next(iter(vault.keys()))


# A new key


@pytest.fixture
def own_keys(home: Path, database: None) -> Iterator[Path]:
    """The tests' database, with the keys of a home of its own."""
    yield home


def _rotate() -> dict[str, Any]:
    command = [sys.executable, "-m", "trainshed.server.rotation"]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _environment() -> dict[str, str]:
    """Of the tests' own database, wherever it is."""
    from django.db import connection

    if connection.vendor == "postgresql":
        return dict(os.environ)
    place = Path(os.environ["TRAINSHED_HOME"], "trainshed.sqlite3")
    if not place.exists():
        place.symlink_to(connection.settings_dict["NAME"])
    return dict(os.environ)


class Sealed:
    """One of each that is sealed: a provider's grant, an app's secret, recovery codes, a session, what is cached."""

    def __init__(self) -> None:
        from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
        from allauth.mfa.totp.internal.auth import TOTP
        from django.core.cache import cache

        from trainshed.server.records.models import ProviderGrant
        from trainshed.server.records.sessions import SessionStore

        self.person = make_person()
        sealed = vault.seal("refresh me", belongs_to=f"provider grant {self.person.id} lab")
        ProviderGrant.objects.create(person=self.person, provider="lab", subject="1", sealed=sealed)
        TOTP.activate(self.person, "JBSWY3DPEHPK3PXP")
        self.codes = RecoveryCodes.activate(self.person).get_unused_codes()
        store = SessionStore()
        store["word"] = "remembered"
        store.create()
        self.session_key = store.session_key
        cache.set("word", {"kept": 1}, 60)

    def opened(self) -> list[Any]:
        from allauth.mfa.models import Authenticator
        from django.core.cache import cache

        from trainshed.server.records.sessions import SessionStore
        from trainshed.server.services import accounts

        factors = {row.type: row.wrap() for row in Authenticator.objects.filter(user=self.person)}
        secret = accounts.SecondFactorAdapter().decrypt(factors["totp"].instance.data["secret"])
        codes = factors["recovery_codes"].get_unused_codes()
        words = (SessionStore(self.session_key).get("word"), cache.get("word"))
        return [accounts.refresh_token(self.person, "lab"), secret, codes == self.codes, *words]


_OPENED = ["refresh me", "JBSWY3DPEHPK3PXP", True, "remembered", {"kept": 1}]


def test_a_new_key_seals_everything_and_the_old_one_is_dropped(own_keys):
    sealed, (old,) = Sealed(), vault.keys()
    said = _rotate()
    (new,) = vault.keys()
    assert said == {"num_sealed": 5, "key": new, "old_keys_dropped": True} and new != old
    assert sealed.opened() == _OPENED
    assert _rotate()["num_sealed"] == 5, "and so again"
    assert sealed.opened() == _OPENED


@pytest.mark.parametrize("stopped_after", ["the new key", "some of the secrets", "all of the secrets"])
def test_a_rotation_that_is_stopped_loses_nothing_and_the_next_one_ends_it(own_keys, stopped_after):
    from trainshed.server.records.models import ProviderGrant
    from trainshed.server.services import accounts

    sealed = Sealed()
    first = vault.add_key()
    if stopped_after == "some of the secrets":
        (row,) = ProviderGrant.objects.all()
        accounts._moved(row, "sealed", accounts._grant_of(row.person_id, row.provider))
    elif stopped_after == "all of the secrets":
        assert accounts.reseal() == 5
    assert len(vault.keys()) == 2 and sealed.opened() == _OPENED
    _rotate()
    (last,) = vault.keys()
    assert last != first and sealed.opened() == _OPENED


def test_with_keys_of_the_setting_a_rotation_moves_everything_to_the_first_of_them(own_keys, monkeypatch):
    old, new = _key("old"), _key("new")
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", old)
    sealed = Sealed()
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", f"{new},{old}")
    assert _rotate() == {"num_sealed": 5, "key": "new", "old_keys_dropped": False}
    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", new)
    assert sealed.opened() == _OPENED


def test_a_key_that_is_missing_stops_the_rotation_and_drops_nothing(own_keys, monkeypatch):
    from trainshed.server.records.models import ProviderGrant

    monkeypatch.setenv("TRAINSHED_ENCRYPTION_KEYS", _key("lost"))
    Sealed()
    monkeypatch.delenv("TRAINSHED_ENCRYPTION_KEYS")
    before = list(ProviderGrant.objects.values_list("sealed", flat=True))
    said = _rotate()
    assert "'lost'" in said["problem"]["detail"] and "TRAINSHED_ENCRYPTION_KEYS" in said["problem"]["hint"]
    assert list(ProviderGrant.objects.values_list("sealed", flat=True)) == before


def test_two_rotations_do_not_run_at_once(own_keys):
    with vault.alone():
        assert "being changed already" in _rotate()["problem"]["detail"]
    assert "key" in _rotate()


def test_a_session_that_does_not_open_signs_nobody_in(own_keys):
    from trainshed.server.records.models import Session
    from trainshed.server.records.sessions import SessionStore

    first, second = SessionStore(), SessionStore()
    for store in (first, second):
        store["word"] = "mine"
        store.create()
    one, other = (Session.objects.get(session_key=_hashed(store)) for store in (first, second))
    Session.objects.filter(pk=one.pk).update(session_data=other.session_data)
    assert SessionStore(first.session_key).get("word") is None, "sealed to another session"
    assert SessionStore(second.session_key).get("word") == "mine"


def _hashed(store: Any) -> str:
    from trainshed.server.records.sessions import hashed

    return hashed(store.session_key)
