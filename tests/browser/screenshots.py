"""`make screenshots`: the pictures of the README and the docs, taken from the running product.

A service of its own, handwritten digits drawn large, one training; desktop, light, 1280 x 800.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests")]

from browser import chromium  # noqa: E402
from browser.chromium import Window  # noqa: E402
from journeys import service  # noqa: E402
from journeys.service import Service  # noqa: E402
from trainshed.schemas import ClassificationRecipe  # noqa: E402

PICTURES = REPOSITORY / "docs" / "pictures"
VIEW = {"width": 1280, "height": 800}
EMAIL, PASSWORD = "ann@example.org", "a long enough passphrase"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUM_DIGITS, SIDE, NUM_COLOURS = 900, 96, 200


def write_digits(folder: Path) -> Path:
    """Handwritten digits, dark on light and large enough to look at."""
    digits = load_digits()
    for number in range(NUM_DIGITS):
        path = folder / WORDS[digits.target[number]] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = (255 - digits.images[number] * 240 / 16).astype(np.uint8)
        Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return folder


def shoot(window: Window, name: str) -> None:
    """The page as it is; few colours keep the file small."""
    window.page.mouse.move(0, 0)
    window.page.wait_for_timeout(1200)
    shot = Image.open(io.BytesIO(window.page.screenshot())).convert("RGB")
    PICTURES.mkdir(parents=True, exist_ok=True)
    path = PICTURES / f"{name}.png"
    shot.quantize(NUM_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(REPOSITORY)}: {path.stat().st_size // 1024} KiB")


def take(running: Service, window: Window, folder: Path) -> None:
    client = running.client
    running.wait_for_shelf()
    arrived = client.datasets.import_folder(folder)
    client.jobs.wait(arrived.job, 60, must_succeed=True)
    place = f"/w/{arrived.dataset.workspace_id}/p/{arrived.dataset.project_id}"
    window.go(f"{place}/datasets/{arrived.dataset.id}")
    shoot(window, "dataset")
    recipe = ClassificationRecipe(backbone="scratch-cnn", image_size=32, epochs=60, patience=1000)
    job = client.train(arrived.dataset, recipe, name="Digit reader")
    window.go(f"{place}/jobs/{job.id}")
    window.page.wait_for_function("() => Number(document.querySelector('[data-chart=loss]').dataset.points) > 30")
    shoot(window, "training")
    model_id = (client.jobs.wait(job, 300, must_succeed=True).result or {})["model_id"]
    window.go(f"{place}/models/{model_id}")
    window.page.locator("[data-island=predict] [data-choose]").set_input_files(folder / "seven" / "0007.png")
    window.page.locator("[data-cards] > li[data-state=answered]").wait_for()
    shoot(window, "model")
    window.go("/")
    shoot(window, "home")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, service.running() as running, chromium.launched() as browser:
        window = chromium.window(browser, running.url, viewport=VIEW, color_scheme="light")
        window.page.set_default_timeout(120_000)
        window.sign_in(EMAIL, PASSWORD)
        take(running, window, write_digits(Path(folder) / "Handwritten digits"))
        print("\n".join(window.faults))


if __name__ == "__main__":
    main()
