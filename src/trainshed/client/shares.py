"""Shares: links to one thing, for anybody who has them."""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.client.answers import pages, parse
from trainshed.client.place import Place, id_of
from trainshed.client.transport import Transport
from trainshed.schemas import JobView, ModelView, ShareView, VersionView

_NOUNS = {ModelView: "model", VersionView: "version", JobView: "job"}


class Shares:
    """`client.shares`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def list(self) -> Iterator[ShareView]:
        """The project's open links, without their secrets."""
        return pages(self._transport, f"{self._place.path()}/shares", ShareView)

    def create(
        self, thing: ModelView | VersionView | JobView, expires_in_days: float = 30, note: str = ""
    ) -> ShareView:
        """Make a link to a model, a version or a job (its result). The answer is the only one that ever holds it."""
        noun = _NOUNS[type(thing)]
        body = {"noun": noun, "thing_id": thing.id, "expires_in_days": expires_in_days, "note": note}
        return parse(ShareView, self._transport.request("POST", f"{self._place.path(thing)}/shares", json=body))

    def revoke(self, share: ShareView | str) -> None:
        """End a link, at once, by its view or its id."""
        self._transport.request("DELETE", f"{self._place.path(share)}/shares/{id_of(share)}")
