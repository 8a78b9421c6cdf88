"""Server-sent events, read as the WHATWG specification says (HTML, 9.2.6); what they mean is elsewhere.

Lines end with CR, LF or both and nothing else: JSON may hold U+2028, which `str.splitlines` would cut at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One message. `last_id` is what to reconnect with; a comment is a message of the kind `comment`."""

    kind: str
    data: str
    last_id: str
    retry_seconds: float | None = None


def messages(chunks: Iterable[bytes]) -> Iterator[Message]:
    """The messages of a stream that arrives in chunks of any size; an unfinished last one is dropped."""
    kind, data, last_id, retry_seconds = "", list[str](), "", None
    for line in lines(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                yield Message(kind or "message", "\n".join(data), last_id, retry_seconds)
            kind, data = "", []
        elif name == "":
            yield Message("comment", value, last_id, retry_seconds)
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry_seconds = int(value) / 1000


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The finished lines of a stream, without their ends and without a byte order mark at its start."""
    rest, is_after_cr, is_first = b"", False, True
    for chunk in filter(None, chunks):
        # A CRLF that fell between two chunks is one end of line, not two.
        fresh = chunk[1:] if is_after_cr and chunk.startswith(b"\n") else chunk
        is_after_cr = chunk.endswith(b"\r")
        *finished, rest = (rest + fresh).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in finished:
            yield (line.removeprefix(b"\xef\xbb\xbf") if is_first else line).decode("utf-8", "replace")
            is_first = False
