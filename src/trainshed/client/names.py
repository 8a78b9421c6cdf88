"""What a person typed -> the one thing they mean: an id, a name, or a beginning of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from trainshed.errors import InvalidInput, NotFound

_LISTED = 10


class Named(Protocol):
    """Anything with an id and a name."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


Thing = TypeVar("Thing", bound=Named)


def pick(things: Iterable[Thing], wanted: str, noun: str) -> Thing:
    """The one of `things` that `wanted` means.

    An exact id wins, then an exact name, then a beginning of either. Raises `NotFound`, or `InvalidInput`
    naming the candidates when several are meant.
    """
    known = list(things)
    for found in (
        [thing for thing in known if thing.id == wanted],
        [thing for thing in known if thing.name == wanted],
        [thing for thing in known if wanted and (thing.id.startswith(wanted) or thing.name.startswith(wanted))],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInput(
                f"{wanted!r} could be {_listed(found)}.", hint=f"Give more of the {noun}'s name, or its id."
            )
    raise NotFound(f"There is no {noun} {wanted!r}.", hint=_known_hint(known, noun))


def _listed(things: list[Thing]) -> str:
    words = [f"{thing.name!r} ({thing.id})" for thing in things[:_LISTED]]
    return ", ".join(words) + (f" and {len(things) - _LISTED} others" if len(things) > _LISTED else "")


def _known_hint(things: list[Thing], noun: str) -> str:
    return f"There is: {_listed(things)}." if things else f"There is no {noun} at all yet."
