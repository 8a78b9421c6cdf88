"""What each job kind does. A handler takes its `Work` and returns (result, artifact name -> file)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainshed.errors import InvalidInput

if TYPE_CHECKING:
    from trainshed.runner.child import Work

Handler = Callable[["Work"], tuple[dict[str, Any], dict[str, Path]]]

# kind -> (its module here, what a warm runner imports ahead)
KINDS: dict[str, tuple[str, str]] = {
    "import": ("imports", "light"),
    "snapshot": ("snapshots", "light"),
    "train": ("trainings", "vision"),
    "pretrained": ("pretrained", "vision"),
}


def find(kind: str) -> Handler:
    """The handler of a kind. Raises `InvalidInput` for a kind that this runner does not know."""
    if kind not in KINDS:
        raise InvalidInput(f"This runner knows no job kind {kind!r}.", hint="Upgrade this machine's Trainshed.")
    handler: Handler = importlib.import_module(f"{__name__}.{KINDS[kind][0]}").handle
    return handler


def warm_up(what: str) -> None:
    """Import what jobs of this warmth need, so that the next one starts at once."""
    if what == "vision" and importlib.util.find_spec("torch"):
        from trainshed.vision import warm

        warm.prepare()
    elif what == "light":
        importlib.import_module("trainshed.pictures")
        importlib.import_module("pyarrow.parquet")
