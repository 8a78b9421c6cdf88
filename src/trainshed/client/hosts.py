"""Hosts and their GPUs, as their agents last read them."""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.client.answers import pages
from trainshed.client.transport import Transport
from trainshed.schemas import HostReading, HostView


class Hosts:
    """`client.hosts`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[HostView]:
        return pages(self._transport, "/hosts", HostView)

    def report(self, reading: HostReading) -> None:
        """Send an agent's reading; needs a host's own key. Never repeated: the next reading is newer."""
        self._transport.request("POST", "/hosts/readings", json=reading.model_dump(), retries=0)
