"""Accounts: my own name and browsers, and, for administrators, everybody's."""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.client.answers import pages, parse, segment
from trainshed.client.transport import Transport
from trainshed.schemas import Me, PersonView, SessionView


class Sessions:
    """`client.sessions`: the browsers in which I am signed in."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[SessionView]:
        """The one used last first."""
        return pages(self._transport, "/sessions", SessionView)

    def end(self, session_id: str) -> None:
        """Sign it out, and out of every application that it signed in to."""
        self._transport.request("DELETE", f"/sessions/{segment(session_id)}")


class People:
    """`client.people`: everybody with an account, for administrators of the installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[PersonView]:
        """The oldest account first."""
        return pages(self._transport, "/people", PersonView)

    def switch(
        self, person_id: str, *, is_active: bool | None = None, is_administrator: bool | None = None
    ) -> PersonView:
        """Switch an account off or on, or make somebody an administrator or none; what is `None` stays."""
        body = {"is_active": is_active, "is_administrator": is_administrator}
        return parse(PersonView, self._transport.request("PATCH", f"/people/{segment(person_id)}", json=body))

    def rename_me(self, name: str) -> Me:
        """Give the caller another name."""
        return parse(Me, self._transport.request("PATCH", "/me", json={"name": name}))

    def delete_me(self) -> None:
        """Delete the caller's account for good."""
        self._transport.request("DELETE", "/me")
