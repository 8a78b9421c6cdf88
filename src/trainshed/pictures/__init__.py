"""Pictures: decode, orient, resize, hash, thumbnail; archives, class folders, splits and manifests of them.

No torch, no Django. `load` is the one decoder and resize for training, evaluation and serving. Everything is
imported on first use, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainshed.pictures import archives, folders, manifest, splits
    from trainshed.pictures.archives import Archive, Entry
    from trainshed.pictures.decode import Limits, decoder_version
    from trainshed.pictures.folders import class_folders
    from trainshed.pictures.inspect import Inspection
    from trainshed.pictures.limited import Inspectors
    from trainshed.pictures.splits import split
    from trainshed.pictures.transform import load

__all__ = [
    "Archive", "Entry", "Inspection", "Inspectors", "Limits", "archives", "class_folders", "decoder_version",
    "folders", "load", "manifest", "split", "splits",
]  # fmt: skip

_HOME_OF = {
    "Archive": "archives",
    "Entry": "archives",
    "Inspection": "inspect",
    "Inspectors": "limited",
    "Limits": "decode",
    "class_folders": "folders",
    "decoder_version": "decode",
    "load": "transform",
    "split": "splits",
}
_MODULES = {"archives", "folders", "manifest", "splits"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOME_OF:
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
