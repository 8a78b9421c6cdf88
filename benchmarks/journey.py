"""P2: from pictures to an answering model, on a real service: 3 classes of 60 photos, CPU, everything installed.

Its accuracy stands beside scikit-learn's logistic regression on the same frozen features. The pictures are crops of
three of scikit-image's photos, so this measures time; it is no benchmark of accuracy.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from figures import Figure, print_figures
from service import running, wait_for_quiet
from trainshed import Client, pictures
from trainshed.schemas import ClassificationRecipe, VersionView

NUM_RUNS = 5
WARM_UP_SECONDS = 8.0  # the next runner imports torch; a team's installation has had that time long ago
CLASSES = ("astronaut", "coffee", "chelsea")
NUM_EACH = 60


def write_crops(root: Path, seed: int) -> None:
    """60 random crops of about a third of each photo, with a random change of light."""
    random = np.random.default_rng(seed)
    for name in CLASSES:
        photo = getattr(data, name)()
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(NUM_EACH):
            side = int(min(photo.shape[:2]) * random.uniform(0.3, 0.5))
            top, left = (int(random.integers(0, size - side)) for size in photo.shape[:2])
            crop = photo[top : top + side, left : left + side].astype(np.float32) * random.uniform(0.7, 1.3)
            Image.fromarray(crop.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.jpg", quality=90)


def scikit_accuracy(client: Client, version: VersionView, root: Path) -> float:
    """scikit-learn's logistic regression on the same frozen features and the same split."""
    import torch
    from sklearn.linear_model import LogisticRegression

    from trainshed.vision import backbones

    rows = list(client.versions.images(version))
    backbone = backbones.build(ClassificationRecipe(), len(CLASSES), rows)
    network = backbone.network.eval()
    images = [pictures.load((root / row.name).read_bytes(), backbone.transform) for row in rows]
    with torch.no_grad():
        features = network.features(network.normalise(torch.from_numpy(np.stack(images)))).numpy()
    part = {name: [index for index, row in enumerate(rows) if row.split == name] for name in ("train", "test")}
    labels = np.array([row.class_id for row in rows])
    model = LogisticRegression(max_iter=5000).fit(features[part["train"]], labels[part["train"]])
    return float(model.score(features[part["test"]], labels[part["test"]]))


def one_run(client: Client, recipe: ClassificationRecipe, seed: int) -> tuple[float, float, float]:
    """(seconds from the folder to the first answer, accuracy on the test split, scikit-learn's there)."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / f"photos-{seed}-{recipe.epochs}"
        write_crops(root, seed)
        began = time.perf_counter()
        arrived = client.datasets.import_folder(root)
        client.jobs.wait(arrived.job)
        job = client.jobs.wait(client.train(arrived.dataset, recipe))
        assert job.result is not None, job.reason
        client.models.predict(job.result["model_id"], root / CLASSES[0] / "00.jpg")
        seconds = time.perf_counter() - began
        version = client.versions.newest(arrived.dataset)
        assert version is not None
        return seconds, float(job.result["metrics"]["accuracy"]), scikit_accuracy(client, version, root)


def figures_of(client: Client, name: str, recipe: ClassificationRecipe, most_seconds: float) -> list[Figure]:
    runs = []
    for seed in range(NUM_RUNS):
        time.sleep(WARM_UP_SECONDS)
        runs.append(one_run(client, recipe, seed))
    seconds, accuracy, theirs = (statistics.median(side) for side in zip(*runs, strict=True))
    return [
        Figure(
            id="P2", name=f"pictures to answering model, {name}, s", ours=seconds, anchor=None, anchor_name="",
            ratio=None, target=f"<= {most_seconds:.0f} s", holds=seconds <= most_seconds,
        ),
        Figure(
            id="P2", name=f"accuracy, {name}", ours=accuracy, anchor=theirs, ratio=accuracy / theirs,
            anchor_name="scikit-learn on the same features", target=">= scikit-learn", holds=accuracy >= theirs,
        ),
    ]  # fmt: skip


def measure() -> list[Figure]:
    with running() as client:
        wait_for_quiet(client)
        return [
            *figures_of(client, "few-shot", ClassificationRecipe(epochs=0), 4.0),
            *figures_of(client, "transfer", ClassificationRecipe(epochs=4), 12.0),
        ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    print_figures(measure(), parser.parse_args().json)
