"""The Python SDK: speaks REST, and is the only way another process or machine talks to the server.

    from trainshed import Client

`client.transport` carries requests, the nouns (`datasets`, `jobs`, `models`, ...) give them types.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Client"]

if TYPE_CHECKING:
    from trainshed.client.client import Client


def __getattr__(name: str) -> Any:
    """Import the nouns when `Client` is first asked for: a runner needs the transport alone."""
    if name == "Client":
        from trainshed.client.client import Client

        return Client
    raise AttributeError(f"module 'trainshed.client' has no attribute {name!r}")
