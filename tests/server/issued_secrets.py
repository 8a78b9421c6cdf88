"""One of every secret that this server issues or is given, and a search for each in a dump of the whole database.

`run(site)` issues them over a running web process of this Python process, dumps the database while and after they are
used, and tells for each where it was found.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from server import sign_in_attacks
from server.api_client import Caller, Lab
from server.sign_in_attacks import Browser, Stage, set_to
from testing.relying_party import CALLBACK, RelyingParty
from web.test_accounts import code_of
from web.visitors import Page, Visitor

# A token's beginning of 8 characters is kept on purpose; a longer part of any secret is not.
PART = 12
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeGt3T2XVdM4pLZ5TrQs"


@dataclass
class Dump:
    """All that stood in the database at the moments when it was taken: what was in each column."""

    columns: dict[str, set[str]] = field(default_factory=dict)

    def take(self) -> None:
        from django.db import connection

        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')
                names = [column[0] for column in cursor.description]
                for row in cursor.fetchall():
                    for name, value in zip(names, row, strict=True):
                        self.columns.setdefault(f"{table}.{name}", set()).update(_readings(_text(value)))
        if connection.vendor == "sqlite":
            # What is written and deleted again stays in the file for a while.
            for path in Path(connection.settings_dict["NAME"]).parent.glob("trainshed.sqlite3*"):
                # By another process: closing a file of SQLite's in this one would let go of all its locks.
                raw = subprocess.run(["cat", str(path)], capture_output=True, check=True).stdout
                self.columns.setdefault(path.name, set()).add(raw.decode("latin-1"))

    def places(self, secret: str) -> list[str]:
        """The columns that hold the secret, raw or in another writing, or a part of it."""
        raw = secret.encode()
        writings = {raw.hex(), *(_unpadded(base64.b64encode(b"_" * shift + raw), shift) for shift in range(3))}
        parts = {secret[start : start + PART] for start in range(max(1, len(secret) - PART + 1))}
        wanted = parts | writings | {writing.upper() for writing in writings if writing == raw.hex()}
        return sorted(
            name for name, texts in self.columns.items() if any(part in text for text in texts for part in wanted)
        )


def _text(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


def _readings(text: str) -> Iterator[str]:
    """A cell, and whatever in it is base64: Django keeps some of its words so."""
    yield text
    for found in _BASE64.findall(text):
        padded = found.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            yield base64.b64decode(padded + "=" * (-len(padded) % 4)).decode("latin-1")
        except (binascii.Error, ValueError):
            continue


def _unpadded(encoded: bytes, shift: int) -> str:
    """The characters of a base64 text that this secret alone decides, wherever in other words it began."""
    return encoded.decode().rstrip("=")[(0, 2, 3)[shift] : -1].replace("/", "_").replace("+", "-")


def run(site: str) -> dict[str, list[str]]:
    """Each secret's name, and the columns where it, or a part of it, was found."""
    dump = Dump()
    return {name: dump.places(secret) for name, secret in issue(site, dump).items()}


def issue(site: str, dump: Dump) -> dict[str, str]:
    """Every secret by its name; the dump is taken while they are new, in use, and used."""
    found: dict[str, str] = {}
    with ExitStack() as stack:
        for issuer in (_machines, _account, _mails, _workspace, _providers, _application):
            found |= stack.enter_context(issuer(site, dump))
            dump.take()
    return found


@contextmanager
def _machines(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    from trainshed.server.services import hosts, people, tokens

    code = people.new_setup_code()
    assert code, "somebody is there already"
    yield {
        "setup code": code,
        "host key": hosts.enrol_this_machine(),
        "service token": tokens.issue_for_service("model server"),
        "attempt token": Lab("machines").attempt("train")[1],
    }


@contextmanager
def _account(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    """A person with a password and a second factor, signed in in a browser and at the command line."""
    lab, password = Lab("account"), secrets.token_urlsafe(18)
    person = _with_password(lab, password)
    visitor = Visitor(site)
    visitor.sign_in(person.email, password)
    visitor.send("/sign-in/again", {"password": password, "next": "/settings"})
    factor = _second_factor(visitor, dump)
    caller = Caller(httpx.Client(base_url=site, timeout=30))
    said = {"email": person.email, "password": password, "code": factor["recovery code 1"]}
    first = caller.post("/sign-in", said).json()["token"]
    found = {
        "password": password,
        "session cookie": visitor.http.cookies["sessionid"],
        "proof cookie": visitor.http.cookies["csrftoken"],
        "token of a sign-in": first,
        "personal token": caller.as_(first).post("/tokens", {"name": "n", "scopes": ["read"]}).json()["token"],
        "login code": _login_code(visitor),
    }
    yield found | factor
    caller.http.close()
    visitor.http.close()


@contextmanager
def _mails(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    """What is sent to an address, to prove it or to choose a new password."""
    from django.core import mail
    from django.test.utils import override_settings

    password = secrets.token_urlsafe(18)
    person, visitor, other = _with_password(Lab("mails"), password), Visitor(site), Visitor(site)
    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        mail.outbox = []
        visitor.sign_in(person.email, password)
        visitor.send("/sign-in/again", {"password": password, "next": "/settings"})
        visitor.send("/settings/email", {"action_add": "", "email": "other@example.org"})
        other.send("/password/forgotten", {"email": person.email})
        words = " ".join(each.body for each in mail.outbox)
    visitor.http.close()
    other.http.close()
    reset, confirm = (re.findall(pattern, words)[0] for pattern in (r"/password/new/\w+-(\S+)", r"/confirm/(\S+)"))
    yield {"key of a password reset": reset, "key of an e-mail address": confirm}


def _with_password(lab: Lab, password: str) -> Any:
    person = lab.person("owner")
    person.set_password(password)
    person.save()
    _prove_address(person)
    return person


def _prove_address(person: Any) -> None:
    from allauth.account.models import EmailAddress

    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)


def _login_code(visitor: Visitor) -> str:
    address = "/sign-in/terminal?redirect_uri=http://127.0.0.1:4321/back"
    answer = visitor.send(f"{address}&state={'s' * 16}&challenge={_CHALLENGE}&name=laptop")
    return re.findall(r"code=([a-z0-9_]+)", answer.headers.get("location", "") + answer.text)[0]


def _second_factor(visitor: Visitor, dump: Dump) -> dict[str, str]:
    address = "/settings/second-factor"
    (secret,) = [one.text for one in visitor.page(f"{address}/app").all("code")]
    dump.take()  # it is not switched on yet, and must be remembered nevertheless
    assert visitor.send(f"{address}/app", {"code": code_of(secret)}).status_code == 302
    codes = [one.text for one in visitor.page(f"{address}/codes").all("li") if re.fullmatch(r"\S{8,}", one.text)]
    assert len(codes) == 10
    return {"secret of a second factor": secret, **{f"recovery code {n}": code for n, code in enumerate(codes, 1)}}


@contextmanager
def _workspace(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    lab = Lab("workspace")
    with httpx.Client(base_url=site, timeout=30) as http:
        owner, place = Caller(http, lab.token("owner")), f"/workspaces/{lab.workspace_id}"
        robot = owner.post(f"{place}/tokens", {"name": "robot"}).json()["token"]
        invite = owner.post(f"{place}/invites", {"role": "viewer"}).json()["link"]
        shared = {"noun": "model", "thing_id": lab.model().id}
        share = owner.post(f"{lab.path}/shares", shared).json()["link"]
        guest = Visitor(site)
        guest.get(f"/invite/{_last(invite)}")
        guest.get(f"/s/{_last(share)}")
        guest.http.close()
    yield {"robot token": robot, "invite": _last(invite), "share link": _last(share)}


def _last(link: str) -> str:
    return link.rpartition("/")[2]


@contextmanager
def _providers(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    """What a provider is told and gives: for one who comes in, and for one who is asked for an address first."""
    with sign_in_attacks.staged(site) as stage:
        stage.newcomer("lab")
        assert not stage.complaints, stage.complaints
        stage.lab.signed_in = stage.account(email="", email_verified=False)
        half_way = stage.browser()
        address = half_way.begin("lab")
        dump.take()
        half_way.land(half_way.consent(address))
        dump.take()
        yield _said(stage, half_way, address)
        stage._clear()


def _said(stage: Stage, half_way: Browser, address: str) -> dict[str, str]:
    refresh, access = list(stage.lab._refresh), list(stage.lab._access)
    assert len(refresh) == len(access) == 2, "both came to their tokens"
    return {
        "state of a sign-in": sign_in_attacks._parameter(address, "state"),
        "client secret at a provider": stage.lab.client.secret,
        **{f"refresh token of a provider {n}": each for n, each in enumerate(refresh, 1)},
        **{f"access token of a provider {n}": each for n, each in enumerate(access, 1)},
        "session of who comes from a provider": half_way.http.cookies["sessionid"],
    }


@contextmanager
def _application(site: str, dump: Dump) -> Iterator[dict[str, str]]:
    """Another application that signs somebody in with this server."""
    from trainshed.server.services import applications

    secret = secrets.token_urlsafe(24)
    said = {"id": "notebooks", "name": "Notebooks", "secret": secret, "redirect_uris": [CALLBACK]}
    with set_to(TRAINSHED_OIDC_CLIENTS=json.dumps([said])):
        applications.register()
        party, visitor = RelyingParty(site, "notebooks", secret), Visitor(site)
        password = secrets.token_urlsafe(18)
        visitor.sign_in(_with_password(Lab("application"), password).email, password)
        code = party.code_in(_led_to(visitor.get(party.address())))
        dump.take()
        answer = party.exchange(code)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        visitor.http.close()
        yield {
            "secret of an application": secret,
            "code for an application": code,
            "access token of an application": told["access_token"],
            "refresh token of an application": told["refresh_token"],
        }


def _led_to(answer: httpx.Response) -> str:
    refreshed = [one.attributes["content"] for one in Page(answer.text).all("meta", http_equiv="refresh")]
    found = answer.headers.get("location") or (refreshed[0].partition("url=")[2] if refreshed else "")
    return urljoin(str(answer.request.url), found)
