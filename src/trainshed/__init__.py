"""Trainshed: pictures in, one command, a model that answers out.

`from trainshed import Client` is the SDK; everything else is reached through it or the command line.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from trainshed.client import Client


def __getattr__(name: str) -> Any:
    """Import the SDK when it is first asked for, so that `import trainshed` stays instant."""
    if name == "Client":
        return import_module("trainshed.client").Client
    raise AttributeError(f"module 'trainshed' has no attribute {name!r}")
