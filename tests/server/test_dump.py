"""A dump of the database holds no secret that anybody could use."""

from __future__ import annotations

import base64

import httpx
import pytest

from server import issued_secrets
from server.api_client import API, Lab
from server.issued_secrets import PART, Dump


def test_no_secret_stands_in_a_dump_of_the_database(site, database):
    found = issued_secrets.run(site)
    assert len(found) > 30
    assert {name: places for name, places in found.items() if places} == {}


SECRET = "tsp_abcdefghij0123456789klmnopqrst"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        f"some words, {SECRET} and more",
        SECRET[:PART],
        SECRET[-PART:],
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(f'{{"in": "{SECRET}"}}'.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode() + b"yz").decode(),
    ],
)
def test_the_search_finds_a_secret_in_every_writing(database, written):
    from trainshed.server.records.models import Workspace

    Workspace.objects.create(name=written)
    dump = Dump()
    dump.take()
    assert "workspace.name" in dump.places(SECRET)


def test_the_beginning_of_a_token_is_no_find(database):
    from trainshed.server.records.models import Workspace

    Workspace.objects.create(name=SECRET[:8])
    dump = Dump()
    dump.take()
    assert "workspace.name" not in dump.places(SECRET)


def test_what_stands_in_the_table_of_sessions_signs_nobody_in(site, database):
    from django.conf import settings

    from trainshed.server.records.models import Session
    from web.visitors import Visitor, session_of

    session_of(Lab().person("owner"), Visitor(site)).http.close()
    (row,) = Session.objects.all()
    for value in (row.session_key, row.public_id, row.session_data):
        cookies = {settings.SESSION_COOKIE_NAME: value}
        assert httpx.get(f"{site}{API}/me", cookies=cookies).status_code == 401
