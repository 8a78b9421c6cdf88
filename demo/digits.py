"""The main job on real pictures, start to finish: `make demo`.

Starts the service on a fresh home, imports scikit-learn's 1,797 handwritten digits, trains a classifier on them and
asks it over REST about ten that it has never seen. The last line is one line of JSON; then the service goes on
running until Ctrl-C, unless `--once` is given.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainshed import Client
from trainshed.cli import watching
from trainshed.errors import StartRefused, TrainshedError, from_problem
from trainshed.schemas import (
    Augmentation,
    ClassificationRecipe,
    DatasetView,
    JobView,
    ManifestRow,
    ModelView,
    Prediction,
    SplitPlan,
    VersionView,
)

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = REPOSITORY / ".demo" / "home"
# The service keeps sockets in its home, and their paths are short by the kernel's rule.
LONGEST_HOME_BYTES = 70
PREFERRED_PORT = 8765
EMAIL = "demo@example.org"
# A mirrored 2 is no digit, so pictures are not mirrored; eight epochs are enough for pictures this small.
RECIPE = ClassificationRecipe(backbone="scratch-cnn", epochs=8, augmentation=Augmentation(flip=False))


@dataclass(frozen=True)
class Service:
    """The running service, and its first owner."""

    process: subprocess.Popen[str]
    client: Client
    password: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="stop the service after the last answer")
    once = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]
    try:
        with fresh_home() as home:
            return run(home, once)
    except TrainshedError as error:
        print(f"The demo failed: {error.message}\n  {error.hint}".rstrip(), file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1


def _leave(number: int, _: object) -> None:
    """A signal ends the demo as an error would: through every `finally`."""
    raise SystemExit(128 + number)


def run(home: Path, once: bool) -> int:
    pictures = write_pictures(home.parent / "digits")
    began = time.monotonic()
    with running(home) as service:
        job = train(service.client, pictures)
        right = ask(service.client, job, pictures)
        last_line = json.dumps(
            {
                "demo": "ok",
                "accuracy": job.result["metrics"]["accuracy"] if job.result else None,
                "seconds": round(time.monotonic() - began, 1),
                "correct_of_ten": right,
                "url": service.client.url,
            }
        )
        if once:
            refuse_unclean(end(service.process))
            print(last_line)
            return 0
        print(look_around(service, pictures))
        return stay(service, last_line)


def stay(service: Service, last_line: str) -> int:
    """Until Ctrl-C, which is how this ends well; or until the service ends by itself, which is not."""
    try:
        print(last_line)
        code = service.process.wait()
    except SystemExit:
        refuse_unclean(end(service.process))
        print("Stopped.")
        return 0
    raise TrainshedError(f"The service ended by itself with exit code {code}.", hint="Its logs are in .demo/home/logs.")


def refuse_unclean(code: int) -> None:
    if code:
        raise TrainshedError(f"The service did not stop cleanly; its exit code was {code}.")


# Before the service


@contextlib.contextmanager
def fresh_home() -> Iterator[Path]:
    """An empty home: `.demo/home` of this checkout, or a temporary one where that is in use or its path too long."""
    if len(os.fsencode(HOME)) > LONGEST_HOME_BYTES or is_in_use(HOME):
        with tempfile.TemporaryDirectory(prefix="trainshed-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder) / "home"
        return
    if HOME.parent.exists():
        shutil.rmtree(HOME.parent)
    HOME.mkdir(parents=True)
    yield HOME


def is_in_use(home: Path) -> bool:
    """Whether another demo's service still runs on this home."""
    with contextlib.suppress(FileNotFoundError), (home / "run" / "up.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def write_pictures(folder: Path) -> Path:
    """scikit-learn's digits, 8 x 8 pixels of 16 greys each, as PNG files in one folder per digit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        Image.fromarray((image * (255 / 16)).astype(np.uint8)).save(folder / str(label) / f"{number:04}.png")
    print(f"Wrote {len(digits.images):,} handwritten digits as PNG files, one folder per digit.")
    return folder


def free_port() -> int:
    """The usual port, or a free one if somebody has it."""
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise StartRefused("No port of this machine is free.")


@contextlib.contextmanager
def running(home: Path) -> Iterator[Service]:
    """`trainshed up` as a process of its own with its defaults, and its first owner; it ends with the `with`."""
    settings = {"TRAINSHED_HOME": str(home), "TRAINSHED_PORT": str(free_port())}
    others = {name: value for name, value in os.environ.items() if not name.startswith("TRAINSHED_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trainshed", "up", "--json"],
        env={**others, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the demo, which then stops the service in its order
    )
    try:
        told = _first_words(process)
        with Client(told["url"], "none yet") as client:
            password = secrets.token_hex(8)
            client.setup(told["setup_code"], "Demo Owner", EMAIL, password)
            print(f"The service answers at {told['url']}.")
            yield Service(process, client, password)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> int:
    """Ask it to stop, wait until it has, and return its exit code."""
    process.terminate()
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _first_words(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What `trainshed up --json` tells when it answers. Raises the error that it tells instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    with contextlib.suppress(ValueError):
        return dict(json.loads(line))
    told = line + process.stdout.read()
    with contextlib.suppress(ValueError):
        raise from_problem(json.loads(told))
    raise StartRefused(f"`trainshed up` ended before it answered: {told.strip() or 'it said nothing'}")


# The main job


def train(client: Client, pictures: Path) -> JobView:
    """Pictures in, a version, a training; returns the job that made the model."""
    dataset = bring_in(client, pictures)
    version = divide(client, dataset)
    job = watching.watch(client, client.train(version, RECIPE, "digits"), as_json=False)
    for line in watching.result_lines(job):
        print(line)
    return job


def bring_in(client: Client, pictures: Path) -> DatasetView:
    with watching.bytes_bar(as_json=False) as progress:
        arrived = client.datasets.import_folder(pictures, "digits", progress)
    job = watching.watch(client, arrived.job, as_json=False)
    for line in watching.result_lines(job):
        print(line)
    return client.datasets.get(arrived.dataset)


def divide(client: Client, dataset: DatasetView) -> VersionView:
    job = watching.watch(client, client.versions.create(dataset, SplitPlan()), as_json=False)
    version = client.versions.made_by(job, dataset)
    counts = {split: sum(of_class.values()) for split, of_class in version.summary.counts.items()}
    words = ", ".join(f"{number:,} to {split}" for split, number in counts.items())
    print(f"Version {version.number} of 'digits' gives {words}.")
    return version


def ask(client: Client, job: JobView, pictures: Path) -> int:
    """Show the model ten pictures of the test split, over REST, and print what it says; returns how many are right."""
    assert job.result is not None
    model = client.models.get(job.result["model_id"])
    version = client.versions.get(job.spec["version_id"])
    unseen = list(client.versions.images(version, split="test"))
    one_of_each = {row.class_id: row for row in reversed(unseen)}
    cards = [_card(client, model, row, pictures) for row in sorted(one_of_each.values(), key=lambda row: row.name)]
    print(f"\nTen of the {len(unseen)} test pictures, which played no part in training, and what the model says:\n")
    for first in range(0, len(cards), 5):
        for lines in zip(*(card for card, _ in cards[first : first + 5]), strict=True):
            print("  " + "".join(f"{line:<15}" for line in lines).rstrip())
        print()
    return sum(is_right for _, is_right in cards)


def _card(client: Client, model: ModelView, row: ManifestRow, pictures: Path) -> tuple[list[str], bool]:
    """The picture drawn, with the answer beneath; and whether it is right."""
    data = (pictures / row.name).read_bytes()
    answer: Prediction = client.models.predict(model, data, top=1)
    best, truth = answer.predictions[0], row.class_id
    mark = "✓" if best.class_id == truth else f"✗ {row.name[0]}"
    return [*drawn(pictures / row.name), f"{best.label} {100 * best.score:5.1f} % {mark}"], best.class_id == truth


def drawn(file: Path) -> list[str]:
    """A picture in half blocks: two pixels in each letter, one above the other."""
    ink = np.asarray(Image.open(file).convert("L")) > 110
    blocks = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    pairs = zip(ink[0::2].tolist(), ink[1::2].tolist(), strict=True)
    return ["".join(blocks[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs]


def look_around(service: Service, pictures: Path) -> str:
    command, seven = (_from_here(path) for path in (Path(sys.executable).parent / "trainshed", pictures / "7"))
    return f"""The service goes on running until Ctrl-C. Look around in a browser:

  {service.client.url}     (sign in as {EMAIL} with the password {service.password})

or in another terminal:

  {command} login {service.client.url} --email {EMAIL}
  {command} models list
  {command} jobs list
  {command} predict digits {seven}/*.png --top 1
  {command} gpus
  {command} --help

Every route of the REST API, to read and to try: {service.client.url}/api/v1/docs
"""


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    sys.exit(main())
