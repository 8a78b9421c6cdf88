"""Addresses of pages that somebody outside is sent to."""

from __future__ import annotations

from trainshed.schemas import settings


def to(page: str, secret: str) -> str:
    """The address of a page that opens with a secret, as people reach this server."""
    own = f"http://{settings.text('TRAINSHED_HOST')}:{settings.whole('TRAINSHED_PORT')}"
    return f"{settings.text('TRAINSHED_PUBLIC_URL').rstrip('/') or own}/{page}/{secret}"


def secret_in(link: str) -> str:
    """The secret of such an address, or what was given if it is the secret itself."""
    return link.strip().rstrip("/").rpartition("/")[2]
