"""P11: what a page weighs and how soon it stands, in Chromium with an empty cache, on a real service.

Each page is opened in a browser of its own; its scripts are counted as they travel when compressed with gzip. The
figure of a page is its median of several openings, and the worst page counts. Also what axe finds, by day and by night.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure, arguments, print_figures

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests")]

EMAIL, PASSWORD = "bench@example.org", "only for this measurement"
NUM_OPENINGS = 5


def addresses(client: Any) -> dict[str, str]:
    """Every page that has something to show: a dataset, a training, a model, and the lists around them."""
    from journeys import trainings

    with tempfile.TemporaryDirectory() as folder:
        arrived = client.datasets.import_folder(trainings.write_digits(Path(folder) / "digits"))
        client.jobs.wait(arrived.job)
    job = client.jobs.wait(client.train(arrived.dataset, trainings.recipe(epochs=12)), must_succeed=True)
    workspace = f"/w/{job.workspace_id}"
    project = f"{workspace}/p/{job.project_id}"
    return {
        "home": workspace,
        "project": project,
        "datasets": f"{project}/datasets",
        "dataset": f"{project}/datasets/{arrived.dataset.id}",
        "train": f"{project}/train",
        "jobs": f"{project}/jobs",
        "job": f"{project}/jobs/{job.id}",
        "models": f"{project}/models",
        "model": f"{project}/models/{job.result['model_id']}",
        "hosts": "/hosts",
        "settings": "/settings",
    }


def findings(browser: Any, site: str, cookies: list[Any], paths: dict[str, str]) -> Iterator[str]:
    from browser import chromium

    for scheme in ("light", "dark"):
        state = {"cookies": cookies, "origins": []}
        window = chromium.window(browser, site, storage_state=state, color_scheme=scheme)
        for name, path in paths.items():
            page = window.go(path)
            page.wait_for_timeout(300)
            yield from (f"{name}, {scheme}: {words}" for words in chromium.findings(page))
        window.page.context.close()


def measure() -> list[Figure]:
    from browser import chromium
    from service import running, wait_for_quiet

    with running() as client, chromium.launched() as browser:
        wait_for_quiet(client)
        paths = addresses(client)
        visitor = chromium.window(browser, client.url)
        visitor.sign_in(EMAIL, PASSWORD)
        cookies = visitor.page.context.cookies()
        openings = {
            name: [chromium.opening(browser, client.url, cookies, path) for _ in range(NUM_OPENINGS)]
            for name, path in paths.items()
        }
        found = list(findings(browser, client.url, cookies, paths))
    print(json.dumps({name: vars(each[0]) for name, each in openings.items()}), *found, sep="\n", file=sys.stderr)
    return figures_of(openings, len(found))


def figures_of(openings: dict[str, list[Any]], num_findings: int) -> list[Figure]:
    from browser.chromium import MOST_PAINT_SECONDS, MOST_SCRIPT_KIB

    script = max(one.script_kib for each in openings.values() for one in each)
    paint = max(statistics.median(one.paint_seconds for one in each) for each in openings.values())
    return [
        Figure(
            id="P11", name="scripts of the heaviest page, KiB with gzip", ours=script, anchor=None, anchor_name="",
            ratio=None, target=f"<= {MOST_SCRIPT_KIB} KiB", holds=script <= MOST_SCRIPT_KIB,
        ),
        Figure(
            id="P11", name="largest contentful paint of the slowest page, s", ours=paint, anchor=None, anchor_name="",
            ratio=None, target=f"<= {MOST_PAINT_SECONDS} s", holds=paint <= MOST_PAINT_SECONDS,
        ),
        Figure(
            id="P11", name=f"findings of axe on {len(openings)} pages, day and night", ours=num_findings, anchor=None,
            anchor_name="", ratio=None, target="0", holds=num_findings == 0,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    from browser import chromium

    if chromium.path() is None:
        print("skipped: Chromium is not installed (on Debian: apt-get install chromium)", file=sys.stderr)
    else:
        print_figures(measure(), options.json)
