"""Personal access tokens: what programs sign in with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trainshed.client.answers import pages, parse, segment
from trainshed.client.transport import Transport
from trainshed.schemas import TokenView, WorkspaceView

DEFAULT_SCOPES = ("read", "write", "jobs")


class Tokens:
    """`client.tokens`"""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        scopes: Sequence[str] = DEFAULT_SCOPES,
        expires_in_days: float | None = 90,
        workspace: WorkspaceView | None = None,
    ) -> TokenView:
        """Make a token, for one `workspace` alone if it is given; the answer is the only one that holds its secret.

        Without an end (`None`) it never expires.
        """
        body: dict[str, Any] = {"name": name, "scopes": [*scopes], "expires_in_days": expires_in_days}
        body |= {"workspace_id": workspace.id} if workspace else {}
        return parse(TokenView, self._transport.request("POST", "/tokens", json=body))

    def list(self) -> Iterator[TokenView]:
        return pages(self._transport, "/tokens", TokenView)

    def revoke(self, token: TokenView | str) -> None:
        identifier = token if isinstance(token, str) else token.id
        self._transport.request("DELETE", f"/tokens/{segment(identifier)}")
