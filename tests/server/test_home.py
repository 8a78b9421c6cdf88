"""The home, its secret and its lock, and everything that refuses a start: in words a person can act on."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postgresql import free_port
from trainshed.errors import StartRefused
from trainshed.schemas import settings as table
from trainshed.server import home

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own; nothing is in it yet."""
    with tempfile.TemporaryDirectory(prefix="ts-home-") as parent:
        monkeypatch.setenv("TRAINSHED_HOME", f"{parent}/h")
        yield Path(parent) / "h"


def _environment(folder: Path, **settings: str) -> dict[str, str]:
    return {**os.environ, "TRAINSHED_HOME": str(folder), "TRAINSHED_DATABASE_URL": "", **settings}


# The home


def test_a_home_is_made_with_all_its_folders_for_the_owner_alone(folder):
    assert home.prepare() == folder
    assert {path.name for path in folder.iterdir()} == {"run", "blobs", "cache", "work", "logs"}
    for path in (folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    home.prepare()
    assert not list((folder / "run").iterdir())


def test_a_home_may_start_with_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRAINSHED_HOME", "~/here")
    assert home.prepare() == tmp_path / "here"


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/trainshed", "/dev/null/h"])
def test_a_home_that_cannot_be_written_is_refused_with_its_path(monkeypatch, tmp_path, where):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / where
    monkeypatch.setenv("TRAINSHED_HOME", str(path))
    with pytest.raises(StartRefused) as refused:
        home.prepare()
    assert str(path) in refused.value.message and "TRAINSHED_HOME" in refused.value.hint


def test_a_full_home_is_refused(monkeypatch, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=8", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot mount a small file system")
    try:
        with contextlib.suppress(OSError):
            (tmp_path / "ballast").write_bytes(b"x" * 100_000)
        monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path))
        with pytest.raises(StartRefused, match="No space left") as refused:
            home.prepare()
        assert "Free some space" in refused.value.hint
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# The secret


def test_the_secret_is_made_once_long_random_and_for_the_owner_alone(folder):
    home.prepare()
    made = home.secret_key()
    assert len(made) >= 80 and home.secret_key() == made
    path = folder / "secret_key"
    assert path.read_text() == made and stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()
    assert home.secret_key() != made


def test_a_secret_that_was_set_is_used_and_not_written_down(folder, monkeypatch):
    home.prepare()
    given = secrets.token_urlsafe(60)
    monkeypatch.setenv("TRAINSHED_SECRET_KEY", given)
    assert home.secret_key() == given and not (folder / "secret_key").exists()


BAD_SECRETS = {
    "short": "k3Jd9sLq0Zx",
    "49 characters": secrets.token_urlsafe(60)[:49],
    "one letter": "a" * 80,
    "two letters": "ab" * 40,
    "default": "django-insecure-8f0s9d8f0a9s8df0a9s8df09a8sdf098asdf0a9s8df",
    "changeme": "changeme-8f0s9d8f0a9s8df0a9s8df09a8sdf098asdf0a9s8df0a",
    "blank": " " * 60,
}


@pytest.mark.parametrize("secret", BAD_SECRETS.values(), ids=list(BAD_SECRETS))
@pytest.mark.parametrize("where", ["setting", "file"])
def test_a_weak_secret_is_refused_and_not_repeated(folder, monkeypatch, secret, where):
    home.prepare()
    if where == "setting":
        monkeypatch.setenv("TRAINSHED_SECRET_KEY", secret)
    else:
        (folder / "secret_key").write_text(secret)
    with pytest.raises(StartRefused) as refused:
        home.secret_key()
    source = "TRAINSHED_SECRET_KEY" if where == "setting" else str(folder / "secret_key")
    assert source in refused.value.message and "50 random characters" in refused.value.hint
    assert secret.strip()[:12] not in (refused.value.message + refused.value.hint) or not secret.strip()


def test_an_empty_secret_file_is_refused(folder):
    home.prepare()
    (folder / "secret_key").touch()
    with pytest.raises(StartRefused, match="too short"):
        home.secret_key()


# The lock


def test_a_second_holder_of_the_home_is_refused_with_the_firsts_process_id(folder):
    held = home.lock(home.prepare())
    with pytest.raises(StartRefused, match=f"process {os.getpid()}") as refused:
        home.lock(folder)
    assert str(folder) in refused.value.message and "TRAINSHED_HOME" in refused.value.hint
    held.close()
    home.lock(folder).close()


_HOLDING = """
import time
from trainshed.schemas import settings
from trainshed.server import home
held = home.lock(settings.home())
print("held", flush=True)
time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(folder):
    home.prepare()
    with subprocess.Popen([sys.executable, "-c", _HOLDING], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with pytest.raises(StartRefused, match=f"process {child.pid}"):
            home.lock(folder)
        child.send_signal(signal.SIGKILL)
    held = home.lock(folder)
    assert (folder / "run" / "up.lock").read_text() == str(os.getpid())
    held.close()


# What else refuses a start


def test_up_refuses_a_path_that_is_too_long_for_its_sockets(monkeypatch, tmp_path):
    from trainshed.server import supervisor

    path = tmp_path / ("long" * 20)
    monkeypatch.setenv("TRAINSHED_HOME", str(path))
    with pytest.raises(StartRefused, match="too long") as refused:
        supervisor.up()
    assert str(path) in refused.value.message


def test_up_refuses_a_port_that_is_taken(folder, monkeypatch):
    from trainshed.server import supervisor

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("TRAINSHED_PORT", str(port))
        with pytest.raises(StartRefused, match=f"127.0.0.1:{port}") as refused:
            supervisor.up()
        assert "TRAINSHED_PORT" in refused.value.hint
    assert not (folder / "trainshed.sqlite3").exists()


def test_up_refuses_a_home_that_another_up_holds(folder, monkeypatch):
    from trainshed.server import supervisor

    held = home.lock(home.prepare())
    with pytest.raises(StartRefused, match="already runs"):
        supervisor.up()
    held.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_up_does_not_open_its_door_before_somebody_has_a_password(folder, monkeypatch, host):
    from trainshed.server import supervisor

    monkeypatch.setenv("TRAINSHED_HOST", host)
    monkeypatch.setenv("TRAINSHED_PORT", str(free_port()))
    monkeypatch.setenv("TRAINSHED_DATABASE_URL", "")
    with pytest.raises(StartRefused, match="password"):
        supervisor.up()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_a_door_to_the_network_needs_tls(monkeypatch, host):
    from trainshed.server import supervisor

    monkeypatch.setenv("TRAINSHED_HOST", host)
    for url in ("", "http://trainshed.example.org"):
        monkeypatch.setenv("TRAINSHED_PUBLIC_URL", url)
        with pytest.raises(StartRefused, match="TLS"):
            supervisor._refuse_open_door(None)
    monkeypatch.setenv("TRAINSHED_PUBLIC_URL", "https://trainshed.example.org")
    supervisor._refuse_open_door(None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_neither_password_nor_tls(monkeypatch, host):
    from trainshed.server import supervisor

    monkeypatch.setenv("TRAINSHED_HOST", host)
    supervisor._refuse_open_door("a setup code")


@pytest.mark.parametrize(
    ("name", "value"), [("TRAINSHED_PORT", "abc"), ("TRAINSHED_LEASE_SECONDS", "-1"), ("TRAINSHED_WEB_THREADS", "inf")]
)
def test_a_setting_that_is_no_number_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused, match=f"{name} is '{value}'"):
        table.whole(name)


def _bootstrap(folder: Path, **settings: str) -> dict[str, Any]:
    """What the first step of a start answers."""
    command = [sys.executable, "-m", "trainshed.server.bootstrap"]
    done = subprocess.run(command, env=_environment(folder, **settings), capture_output=True, text=True, check=False)
    assert done.stdout.strip(), done.stderr
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_a_bootstrap_makes_secrets_anew_and_the_setup_code_until_somebody_is_there(folder):
    first, second = _bootstrap(folder)["prepared"], _bootstrap(folder)["prepared"]
    assert set(first) == {"setup_code", "agent_key", "serving_token"}
    assert all(first[name] != second[name] for name in first)


def test_a_database_of_a_newer_release_is_refused_and_left_alone(folder):
    import sqlite3

    _bootstrap(folder)
    with contextlib.closing(sqlite3.connect(folder / "trainshed.sqlite3")) as database:
        database.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('records', '9999_future', 'now')")
        database.commit()
        before = database.execute("SELECT COUNT(*) FROM token").fetchone()
    refused = _bootstrap(folder)["problem"]
    assert refused["code"] == "start_refused" and "newer release" in refused["detail"]
    assert "9999_future" in refused["detail"] and "Upgrade" in refused["hint"]
    with contextlib.closing(sqlite3.connect(folder / "trainshed.sqlite3")) as database:
        assert database.execute("SELECT COUNT(*) FROM token").fetchone() == before


WRONG_SETTINGS: dict[str, tuple[str, str]] = {
    "another database": ("TRAINSHED_DATABASE_URL", "mysql://localhost/x"),
    "no database name": ("TRAINSHED_DATABASE_URL", "postgresql://localhost"),
    "nobody answers": ("TRAINSHED_DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/x"),
    "another storage": ("TRAINSHED_STORAGE_URL", "s3://bucket"),
    "weak secret": ("TRAINSHED_SECRET_KEY", "hunter2"),
    "log level": ("TRAINSHED_LOG_LEVEL", "loud"),
}


@pytest.mark.parametrize(("name", "value"), WRONG_SETTINGS.values(), ids=list(WRONG_SETTINGS))
def test_a_setting_that_cannot_be_used_refuses_the_start_in_words(folder, name, value):
    refused = _bootstrap(folder, **{name: value})["problem"]
    assert refused["code"] == "start_refused"
    assert name in refused["detail"] + refused["hint"] and refused["hint"]
    assert "hunter2" not in str(refused)


def test_what_broke_off_before_is_cleared_at_the_start(folder):
    home.prepare()
    incoming = folder / "blobs" / "incoming"
    incoming.mkdir()
    (incoming / "half").write_bytes(b"x" * 1000)
    _bootstrap(folder)
    assert not list(incoming.iterdir())


def test_migrations_are_complete(folder):
    command = [sys.executable, "-m", "django", "makemigrations", "--check", "--dry-run"]
    environment = _environment(folder, DJANGO_SETTINGS_MODULE="trainshed.server.settings")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
