"""The demo as a process: what it prints, what its last line says, and that it leaves nothing running."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from trainshed import pictures

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = REPOSITORY / ".demo" / "home"
COMMAND = [sys.executable, str(REPOSITORY / "demo" / "digits.py")]
# On a quiet machine with two cores it is to be 45; other tests' leftovers and smaller machines need room.
MOST_SECONDS = 240


def is_answering(url: str) -> bool:
    parts = urlsplit(url)
    with contextlib.suppress(OSError), socket.create_connection((parts.hostname, parts.port), timeout=5):
        return True
    return False


def accuracy_of_a_support_vector_machine(manifest: Path) -> float:
    """scikit-learn's own classifier of its own digits, trained and tested on the demo's split."""
    digits = load_digits()
    places = {split: [] for split in ("train", "validation", "test")}
    for row in pictures.manifest.read(manifest):
        places[row.split].append(int(Path(row.name).stem))
    machine = SVC(gamma=0.001).fit(digits.data[places["train"]], digits.target[places["train"]])
    return float(machine.score(digits.data[places["test"]], digits.target[places["test"]]))


def manifest_of_the_demo() -> Path:
    with contextlib.closing(sqlite3.connect(HOME / "trainshed.sqlite3")) as database:
        ((sha256,),) = database.execute("SELECT manifest_id FROM dataset_version").fetchall()
    return HOME / "blobs" / sha256[:2] / sha256[2:4] / sha256


@pytest.mark.timeout(600)
def test_the_demo_trains_a_model_that_is_not_below_a_support_vector_machine(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([*COMMAND, "--once"], capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    baseline = accuracy_of_a_support_vector_machine(manifest_of_the_demo())
    with capsys.disabled():
        print(f"\n    demo: {last}, support vector machine {baseline:.4f}", end="")
    assert last.keys() == {"demo", "accuracy", "seconds", "correct_of_ten", "url"}
    assert last["demo"] == "ok"
    assert last["accuracy"] >= max(0.985, baseline)
    assert last["correct_of_ten"] >= 9
    assert last["seconds"] <= MOST_SECONDS
    assert "1,797 pictures in 10 classes" in done.stdout
    for word in ("loss", "accuracy", " left", "epoch 1:"):
        assert word in done.stdout
    assert done.stdout.count("✓") == last["correct_of_ten"]
    assert not is_answering(last["url"])


@contextlib.contextmanager
def started() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demo as far as its service answers, and where."""
    demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    try:
        line = next((line for line in demo.stdout if line.startswith("The service answers at ")), "")
        yield demo, line.removeprefix("The service answers at ").rstrip(".\n")
    finally:
        demo.terminate()
        demo.stdout.read()
        demo.wait(60)
        demo.stdout.close()


@pytest.mark.timeout(180)
def test_ctrl_c_ends_the_demo_and_its_service() -> None:
    with started() as (demo, url):
        assert is_answering(url)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(90) == 128 + signal.SIGINT
        assert not is_answering(url)
