"""Browsers without a browser: signed-in visitors of a running web process, and a workspace with one of everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from server.api_client import Lab, lab, nobody, site  # noqa: F401
from web.visitors import Visitor, session_of

Visit = Callable[..., Visitor]


@pytest.fixture
def visit(site: str, database: None) -> Iterator[Visit]:  # noqa: F811
    """`visit()` is a browser of nobody's, `visit(person)` one where that person is signed in."""
    with ExitStack() as stack:

        def open_one(person: Any = None) -> Visitor:
            visitor = Visitor(site)
            stack.callback(visitor.http.close)
            return session_of(person, visitor) if person else visitor

        yield open_one


@pytest.fixture
def owner(visit: Visit, lab: Lab) -> Visitor:  # noqa: F811
    return visit(lab.person("owner"))


@pytest.fixture
def viewer(visit: Visit, lab: Lab) -> Visitor:  # noqa: F811
    return visit(lab.person("viewer"))
