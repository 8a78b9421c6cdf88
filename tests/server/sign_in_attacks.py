"""Attacks on signing in with a provider, each driven as browsers would, and the flow that must succeed.

`run(site)` tries them all against a running web process of this Python process and tells what came of each. An attack
that could not take place counts as well: a suite that attacks nothing would always hold.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx

from trainshed.testing.codes import Client
from trainshed.testing.fake_dropbox import DropboxAccount, FakeDropbox
from trainshed.testing.hostile_oidc import MARKUP, MISBEHAVIOURS, Account, HostileOidc
from web.visitors import PASSWORD, Page, Visitor

EVIL = "evil.example"
ELSEWHERE = [
    f"//{EVIL}",
    f"https://{EVIL}/",
    f"/\\{EVIL}",
    f"\\\\{EVIL}",
    f"/\t/{EVIL}",
    f"https:{EVIL}",
    f"///{EVIL}",
    f"http://127.0.0.1@{EVIL}/",
    "javascript:alert(1)",
    f"/sign-in?next=//{EVIL}",
]
_NOBODY_LISTENS = "http://127.0.0.1:1"
_MOST_HOPS = 8
_numbers = itertools.count(1)


class Browser(Visitor):
    """One browser that goes where it is sent, inside this site and to the providers, and notes what is not right."""

    def __init__(self, site: str, complaints: list[str]) -> None:
        super().__init__(site)
        self.site = site
        self.complaints = complaints
        self.http.event_hooks["response"] = [self._note_failure]

    def _note_failure(self, answer: httpx.Response) -> None:
        if answer.status_code >= 500 or answer.status_code == 429:
            self.complaints.append(f"{answer.status_code} at {answer.request.url}")

    def who(self) -> str:
        """The e-mail address of whoever is signed in here; empty for nobody."""
        answer = self.http.get("/api/v1/me")
        return str(answer.json()["email"]) if answer.status_code == 200 else ""

    def begin(self, provider_id: str, query: str = "") -> str:
        """Press the button of a provider; returns where it leads, empty if nowhere but this site."""
        target = self.target(self.send(f"/sign-in/with/{provider_id}{query}"))
        return "" if target.startswith(self.site) else target

    def consent(self, address: str) -> str:
        """Go to the provider, which knows who this is; returns where it sends the browser."""
        return str(self.http.get(address).headers["location"])

    def land(self, address: str, claiming: str = "") -> str:
        """Come back from the provider and go on to where this site leads; returns the last page's address.

        `claiming` is the e-mail address that is put into a form that asks for one.
        """
        answer = self.http.get(address)
        for _ in range(_MOST_HOPS):
            target = self.target(answer)
            if target and not target.startswith(f"{self.site}/"):
                self.complaints.append(f"led elsewhere: {target} from {answer.request.url}")
                break
            form = _form_that_asks(answer) if claiming else None
            if not target and form is None:
                break
            said = {"email": claiming, "name": "Mallory"}
            answer, claiming = (self.http.get(target), claiming) if target else (self.send(form or "", said), "")
        return str(answer.request.url)

    def sign_in_with(self, provider_id: str, query: str = "", claiming: str = "") -> str:
        """The whole way; returns the last page's address, empty if it did not even begin."""
        address = self.begin(provider_id, query)
        return self.land(self.consent(address), claiming) if address else ""

    def target(self, answer: httpx.Response) -> str:
        """Where an answer sends a browser, as a browser reads it: backslashes are slashes, tabs are nothing."""
        said = answer.headers.get("location", "") or _refresh(answer)
        for unread in "\t\r\n":
            said = said.replace(unread, "")
        return urljoin(str(answer.request.url), said.strip().replace("\\", "/")) if said else ""


@dataclass
class Stage:
    """A site with three OpenID Connect providers and a Dropbox, where anybody may make an account."""

    site: str
    lab: HostileOidc
    rival: HostileOidc
    liar: HostileOidc
    dropbox: FakeDropbox
    complaints: list[str] = field(default_factory=list)
    _browsers: list[Browser] = field(default_factory=list)
    _rows: set[tuple[Any, ...]] = field(default_factory=set)
    _who: list[str] = field(default_factory=list)

    def browser(self) -> Browser:
        """A new browser, where nobody is signed in."""
        self._browsers.append(Browser(self.site, self.complaints))
        self._who.append("")
        return self._browsers[-1]

    def account(self, **values: Any) -> Account:
        """Somebody new at a provider."""
        number = next(_numbers)
        given = {"subject": f"sub-{number}", "email": f"somebody{number}@example.org", "name": f"Somebody {number}"}
        return Account(**{**given, **values})

    def local(self) -> Any:
        """Somebody new who has an account here, with a password."""
        from allauth.account.models import EmailAddress

        from trainshed.server.records.models import Person

        person = Person.objects.create_person(f"local{next(_numbers)}@example.org", "Local", PASSWORD)
        EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
        return person

    def newcomer(self, provider: str = "lab") -> tuple[Browser, Account]:
        """Somebody who has just made an account by signing in honestly."""
        account = self.account()
        getattr(self, provider).signed_in = account
        browser = self.browser()
        browser.sign_in_with(provider)
        if browser.who() != account.email:
            self.complaints.append(f"the honest flow signed in {browser.who()!r}, not {account.email}")
        self.mark()
        return browser, account

    def mark(self) -> None:
        """All that has happened until now is right."""
        self._rows, self._who = _rows(), [browser.who() for browser in self._browsers]

    def try_(self, attack: Callable[[Stage], None]) -> list[str]:
        """What was not right in the end; nothing if the attack came to nothing."""
        self.complaints.clear()
        self.mark()
        try:
            attack(self)
            self._judge()
        finally:
            self._clear()
        return list(self.complaints)

    def _judge(self) -> None:
        for browser, before in zip(self._browsers, self._who, strict=True):
            now = browser.who()
            if now != before:
                self.complaints.append(f"a browser of {before or 'nobody'} is signed in as {now or 'nobody'}")
        self.complaints += [f"made: {row}" for row in sorted(_rows() - self._rows, key=str)]
        for provider in (self.lab, self.rival, self.liar):
            missing = provider.misbehaviours - set(provider.done)
            self.complaints += [f"it did not come to: {MISBEHAVIOURS[name]}" for name in missing]

    def _clear(self) -> None:
        for provider in (self.lab, self.rival, self.liar):
            provider.behave()
        for browser in self._browsers:
            browser.http.close()
        self._browsers, self._who = [], []


@contextmanager
def staged(site: str) -> Iterator[Stage]:
    """The providers of a running site, named in its settings while the block lasts."""
    from django.test.utils import override_settings

    with ExitStack() as stack:
        # At each of them we go by the same client id, as one may.
        lab, rival, liar = (
            stack.enter_context(HostileOidc(Client("trainshed", f"secret of {id_}", (_callback(site, id_),))))
            for id_ in ("lab", "rival", "liar")
        )
        dropbox = FakeDropbox(Client("app-key", "app-secret", (_callback(site, "dropbox"),)), asks=False)
        stack.enter_context(dropbox)
        running = (("lab", lab.issuer), ("rival", rival.issuer), ("liar", liar.issuer), ("gone", _NOBODY_LISTENS))
        named = {
            "TRAINSHED_OIDC_PROVIDERS": json.dumps([_said(id_, issuer) for id_, issuer in running]),
            "TRAINSHED_DROPBOX_URL": f"{dropbox.url}/{{host}}",
            "TRAINSHED_DROPBOX_CLIENT_ID": dropbox.client.id,
            "TRAINSHED_DROPBOX_CLIENT_SECRET": dropbox.client.secret,
            "TRAINSHED_SIGN_UP": "open",
        }
        # The doubles are on this machine, whatever proxy leads out of it.
        stack.enter_context(set_to(**named, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"))
        # What a process that starts with an open sign-up has; this one may have started with a closed one.
        stack.enter_context(override_settings(ACCOUNT_EMAIL_VERIFICATION="mandatory"))
        yield Stage(site, lab, rival, liar, dropbox)


def run(site: str) -> list[tuple[str, int]]:
    """Each attack's name, and how many sessions, accounts, links and other wrongs came of it: 0 each, if all holds."""
    with staged(site) as stage:
        # Until somebody has been made, the one-time link is the only way in.
        stage.local()
        return [(name, len(stage.try_(attack))) for name, attack in ATTACKS.items()]


@contextmanager
def set_to(**named: str) -> Iterator[None]:
    """Settings of this process, until the block ends."""
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _callback(site: str, provider_id: str) -> str:
    return f"{site}/sign-in/with/{provider_id}/callback"


def _said(provider_id: str, issuer: str) -> dict[str, str]:
    named = {"id": provider_id, "name": provider_id.title(), "issuer": issuer}
    return {**named, "client_id": "trainshed", "client_secret": f"secret of {provider_id}"}


def _rows() -> set[tuple[Any, ...]]:
    """Every person, identity and proof of an address that there is."""
    from allauth.account.models import EmailAddress
    from allauth.socialaccount.models import SocialAccount

    from trainshed.server.records.models import Person, ProviderGrant

    return {
        *(("person", *row) for row in Person.objects.values_list("id", "email")),
        *(("identity", *row) for row in SocialAccount.objects.values_list("provider", "uid", "user_id")),
        *(("grant", *row) for row in ProviderGrant.objects.values_list("provider", "subject", "person_id")),
        *(("address", *row) for row in EmailAddress.objects.values_list("email", "user_id", "verified")),
    }


def _refresh(answer: httpx.Response) -> str:
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return ""
    found = [one.attributes["content"] for one in Page(answer.text).all("meta", http_equiv="refresh")]
    return found[0].partition("url=")[2] if found else ""


def _form_that_asks(answer: httpx.Response) -> str | None:
    """The address of this page's form that asks for an e-mail address to make an account with, if it has one."""
    address = answer.request.url.path
    page = Page(answer.text) if answer.headers.get("content-type", "").startswith("text/html") else Page("")
    return address if address.startswith("/sign-up") and page.all("input", name="email") else None


def _with(address: str, **changes: str | None) -> str:
    """The address with other parameters; `None` leaves one out."""
    parts = urlsplit(address)
    said = {**dict(parse_qsl(parts.query)), **changes}
    return parts._replace(query=urlencode({name: value for name, value in said.items() if value is not None})).geturl()


def _parameter(address: str, name: str) -> str:
    return dict(parse_qsl(urlsplit(address).query))[name]


# The attacks

ATTACKS: dict[str, Callable[[Stage], None]] = {}


def attack(name: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
    def keep(function: Callable[[Stage], None]) -> Callable[[Stage], None]:
        ATTACKS[name] = function
        return function

    return keep


def _lied_to(stage: Stage, misbehaviour: str) -> None:
    """Somebody new signs in, and the provider misbehaves in this one way."""
    stage.lab.signed_in = stage.account()
    stage.lab.misbehaviours = {misbehaviour}
    stage.browser().sign_in_with("lab")


for _name in (
    "wrong_nonce",
    "no_nonce",
    "wrong_audience",
    "extra_audience",
    "wrong_authorized_party",
    "wrong_issuer",
    "expired",
    "no_expiry",
    "no_subject",
    "bad_signature",
    "alg_none",
    "hs256_with_public_key",
    "key_in_header",
    "unknown_key",
    "no_id_token",
    "drops_state",
    "foreign_state",
    "foreign_iss",
    "drops_iss",
):
    ATTACKS[f"lie: {_name.replace('_', ' ')}"] = partial(_lied_to, misbehaviour=_name)


@attack("metadata of another issuer")
def _foreign_metadata(stage: Stage) -> None:
    # The one provider that no other attack speaks to: what a provider says of itself may be kept for a while.
    stage.liar.signed_in = stage.account()
    stage.liar.misbehaviours = {"foreign_metadata"}
    stage.browser().sign_in_with("liar")


@attack("user info of another account")
def _userinfo_of_another(stage: Stage) -> None:
    _, known = stage.newcomer()
    stage.lab.misbehaviours = {"userinfo_of_another"}
    for another in (known, stage.account()):
        stage.lab.another, stage.lab.signed_in = another, stage.account()
        stage.browser().sign_in_with("lab")


@attack("unverified e-mail of a local account")
def _unverified_email(stage: Stage) -> None:
    email = stage.local().email
    stage.mark()
    for verified in (False, None, "false", "true", 0):
        stage.lab.signed_in = stage.account(email=email, email_verified=verified)
        stage.browser().sign_in_with("lab", claiming=email)


@attack("unverified e-mail of a local account at Dropbox")
def _unverified_email_at_dropbox(stage: Stage) -> None:
    email = stage.local().email
    stage.mark()
    stage.dropbox.signed_in = DropboxAccount(f"dbid:{next(_numbers)}", email, email_verified=False)
    stage.browser().sign_in_with("dropbox", claiming=email)


@attack("verified e-mail of a local account")
def _verified_email(stage: Stage) -> None:
    email = stage.local().email
    stage.mark()
    for written in (email, email.upper()):
        stage.lab.signed_in = stage.account(email=written)
        stage.browser().sign_in_with("lab", claiming=email)


@attack("same e-mail at another provider")
def _same_email_elsewhere(stage: Stage) -> None:
    _, account = stage.newcomer()
    stage.rival.signed_in = stage.account(email=account.email)
    stage.browser().sign_in_with("rival", claiming=account.email)
    stage.dropbox.signed_in = DropboxAccount(f"dbid:{next(_numbers)}", account.email)
    stage.browser().sign_in_with("dropbox", claiming=account.email)


@attack("same subject at another provider")
def _same_subject_elsewhere(stage: Stage) -> None:
    victim, account = stage.newcomer()
    stage.rival.signed_in = Account(account.subject, "", "Mallory", email_verified=False)
    mallory = stage.browser()
    mallory.sign_in_with("rival")
    if mallory.who() == victim.who():
        stage.complaints.append("a subject of one provider is somebody of another")


@attack("unverified e-mail of a domain that is welcome")
def _unverified_domain(stage: Stage) -> None:
    with set_to(TRAINSHED_SIGN_UP="welcome.example"):
        email = f"mallory{next(_numbers)}@welcome.example"
        browser = stage.browser()
        stage.lab.signed_in = stage.account(email=email, email_verified=False)
        browser.sign_in_with("lab", claiming=email)
        if browser.who():
            stage.complaints.append(f"signed in as {browser.who()}, which nobody has proved")
    # An account may wait for its proof; nobody is signed in to it.
    stage.mark()


@attack("unproved e-mail of a domain that is welcome, with a password")
def _unproved_domain(stage: Stage) -> None:
    with set_to(TRAINSHED_SIGN_UP="welcome.example"):
        browser = stage.browser()
        said = {"name": "Mallory", "email": f"mallory{next(_numbers)}@welcome.example", "password1": PASSWORD}
        browser.land(browser.target(browser.send("/sign-up", said)) or "/")
        browser.send("/sign-in", {"login": said["email"], "password": PASSWORD})
        if browser.who():
            stage.complaints.append(f"signed in as {browser.who()}, which nobody has proved")
    stage.mark()


@attack("no account where sign-up is closed")
def _closed(stage: Stage) -> None:
    for policy in ("closed", "welcome.example"):
        with set_to(TRAINSHED_SIGN_UP=policy):
            stage.lab.signed_in = stage.account()
            stage.browser().sign_in_with("lab", claiming=stage.lab.signed_in.email)


@attack("account that was switched off")
def _switched_off(stage: Stage) -> None:
    from trainshed.server.records.models import Person

    _, account = stage.newcomer()
    Person.objects.filter(email=account.email).update(is_active=False)
    stage.mark()
    stage.browser().sign_in_with("lab")


@attack("callback replayed")
def _replayed(stage: Stage) -> None:
    stage.lab.misbehaviours = {"accepts_used_codes", "ignores_pkce"}
    stage.lab.signed_in = stage.account()
    victim = stage.browser()
    callback = victim.consent(victim.begin("lab"))
    victim.land(callback)
    _expect(stage, victim, stage.lab.signed_in.email)
    victim.send("/sign-out")
    _expect(stage, victim, "")
    stage.mark()
    victim.land(callback)
    stage.browser().land(callback)


@attack("code used twice")
def _code_twice(stage: Stage) -> None:
    victim, mallory = stage.browser(), stage.browser()
    stage.lab.signed_in = stage.account()
    callback = victim.consent(victim.begin("lab"))
    victim.land(callback)
    _expect(stage, victim, stage.lab.signed_in.email)
    stage.mark()
    _inject(mallory, _parameter(callback, "code"))


@attack("code of another browser, PKCE in its way")
def _injected(stage: Stage) -> None:
    victim, mallory = stage.browser(), stage.browser()
    stage.lab.signed_in = stage.account()
    _inject(mallory, _parameter(victim.consent(victim.begin("lab")), "code"))


@attack("code of another browser, at a provider without PKCE")
def _injected_without_pkce(stage: Stage) -> None:
    stage.lab.misbehaviours = {"ignores_pkce"}
    _injected(stage)


def _inject(browser: Browser, code: str) -> None:
    """Answer this browser's own sign-in with a code that was given to another."""
    browser.land(_with(browser.consent(browser.begin("lab")), code=code))


@attack("session that was planted before signing in")
def _fixated(stage: Stage) -> None:
    mallory, victim = stage.browser(), stage.browser()
    stage.lab.signed_in = stage.account()
    mallory.begin("lab")
    victim.http.cookies.update(mallory.http.cookies)
    victim.sign_in_with("lab")
    _expect(stage, victim, stage.lab.signed_in.email)
    _expect(stage, mallory, "")
    stage.mark()


@attack("missing state")
def _no_state(stage: Stage) -> None:
    stage.lab.signed_in = stage.account()
    for state in (None, ""):
        browser = stage.browser()
        browser.land(_with(browser.consent(browser.begin("lab")), state=state))


@attack("state of another browser")
def _foreign_state(stage: Stage) -> None:
    """Login CSRF: the victim's browser is led to the end of Mallory's own sign-in."""
    stage.lab.signed_in = stage.account()
    mallory, victim, visitor = stage.browser(), stage.browser(), stage.browser()
    visitor.begin("lab")
    for browser in (victim, visitor):
        browser.land(mallory.consent(mallory.begin("lab")))


@attack("state of another browser links nothing")
def _foreign_state_to_link(stage: Stage) -> None:
    victim, _ = stage.newcomer("rival")
    mallory, _ = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    for query in ("?process=connect", ""):
        victim.land(mallory.consent(mallory.begin("lab", query)))


@attack("mix-up: the state of one provider at another")
def _mixed_up_state(stage: Stage) -> None:
    stage.lab.signed_in = stage.rival.signed_in = stage.account()
    browser = stage.browser()
    lab, rival = (browser.consent(browser.begin(name)) for name in ("lab", "rival"))
    browser.land(_with(rival, state=_parameter(lab, "state")))
    browser.land(_with(lab, state=_parameter(rival, "state")))


@attack("mix-up: the code of one provider at another")
def _mixed_up_code(stage: Stage) -> None:
    stage.lab.signed_in = stage.rival.signed_in = stage.account()
    for keeps_issuer in (True, False):
        browser = stage.browser()
        lab, rival = (browser.consent(browser.begin(name)) for name in ("lab", "rival"))
        changes = {} if keeps_issuer else {"iss": _parameter(rival, "iss")}
        browser.land(_with(lab, code=_parameter(rival, "code"), **changes))


@attack("mix-up: the issuer of one provider at another")
def _mixed_up_issuer(stage: Stage) -> None:
    stage.lab.signed_in = stage.account()
    browser = stage.browser()
    browser.land(_with(browser.consent(browser.begin("lab")), iss=stage.rival.issuer))
    browser.land(_with(browser.consent(browser.begin("lab")), iss=""))


@attack("open redirect after signing in with a provider")
def _open_redirect(stage: Stage) -> None:
    _, account = stage.newcomer()
    for address in ELSEWHERE:
        browser = stage.browser()
        browser.sign_in_with("lab", "?" + urlencode({"next": address}))
        _expect(stage, browser, account.email)
    stage.mark()


@attack("open redirect after signing in with a password")
def _open_redirect_by_password(stage: Stage) -> None:
    person = stage.local()
    for address in ELSEWHERE:
        browser = stage.browser()
        answer = browser.send("/sign-in", {"login": person.email, "password": PASSWORD, "next": address})
        browser.land(browser.target(answer) or "/")
        target = browser.target(answer)
        if target and not target.startswith(f"{stage.site}/"):
            stage.complaints.append(f"led elsewhere: {target}")
        _expect(stage, browser, person.email)
    stage.mark()


@attack("open redirect of who is signed in already")
def _open_redirect_again(stage: Stage) -> None:
    browser, _ = stage.newcomer()
    for path in ("/sign-in", "/sign-up", "/sign-out", "/sign-in/again", "/sign-in/with/lab"):
        for address in ELSEWHERE:
            browser.land(f"{stage.site}{path}?{urlencode({'next': address})}")


@attack("open redirect after linking")
def _open_redirect_after_linking(stage: Stage) -> None:
    browser, _ = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    for address in ELSEWHERE:
        browser.sign_in_with("lab", "?" + urlencode({"process": "connect", "next": address}))
    stage.mark()


@attack("process that only redirects")
def _process_redirect(stage: Stage) -> None:
    stage.lab.signed_in = stage.account()
    for process in ("redirect", "nonsense"):
        for address in ("/settings", f"https://{EVIL}/"):
            browser = stage.browser()
            browser.sign_in_with("lab", "?" + urlencode({"process": process, "next": address}))
            if process == "redirect":
                _expect(stage, browser, "")
    stage.mark()


@attack("error answer with markup")
def _markup(stage: Stage) -> None:
    stage.lab.misbehaviours = {"error_with_markup"}
    browser = stage.browser()
    callback = browser.consent(browser.begin("lab"))
    for address in (callback, _with(callback, error=MARKUP), _with(callback, error=MARKUP, state=MARKUP)):
        answer = browser.http.get(address, follow_redirects=True)
        if "<script>alert" in answer.text or "<img src=x" in answer.text:
            stage.complaints.append(f"markup stands in the page of {address}")


@attack("a link begins nothing")
def _begun_by_get(stage: Stage) -> None:
    browser = stage.browser()
    for query in ("", "?process=login", "?process=connect", "?next=/"):
        answer = browser.get(f"/sign-in/with/lab{query}")
        if browser.target(answer).startswith(stage.lab.url):
            stage.complaints.append(f"GET {query!r} leads to the provider")


@attack("a foreign form begins nothing")
def _begun_by_foreign_form(stage: Stage) -> None:
    browser = stage.browser()
    browser.get("/sign-in")
    for form in ({}, {"csrfmiddlewaretoken": "a" * 64}):
        answer = browser.http.post("/sign-in/with/lab", data=form, headers={"Origin": f"https://{EVIL}"})
        if answer.status_code != 403 or browser.target(answer):
            stage.complaints.append(f"a form without proof was answered with {answer.status_code}")


@attack("the address chooses what is asked of the provider")
def _chosen_by_address(stage: Stage) -> None:
    chosen = {"nonce": "chosen", "state": "chosen", "code_challenge": "chosen", "redirect_uri": f"https://{EVIL}/"}
    query = "?" + urlencode({"auth_params": urlencode(chosen), "scope": "chosen", **chosen})
    for provider_id in ("lab", "dropbox"):
        address = stage.browser().begin(provider_id, query)
        if not address or "chosen" in address or EVIL in address:
            stage.complaints.append(f"asked of {provider_id}: {address or 'nothing'}")


@attack("linking while signed out")
def _linking_signed_out(stage: Stage) -> None:
    stage.lab.signed_in = stage.account()
    stage.browser().sign_in_with("lab", "?process=connect")


@attack("linking by a session that has ended")
def _linking_after_sign_out(stage: Stage) -> None:
    browser, _ = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    callback = browser.consent(browser.begin("lab", "?process=connect"))
    browser.send("/sign-out")
    stage.mark()
    browser.land(callback)


@attack("linking by the next person at the same browser")
def _linking_to_the_next(stage: Stage) -> None:
    browser, _ = stage.newcomer("rival")
    _, other = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    callback = browser.consent(browser.begin("lab", "?process=connect"))
    browser.send("/sign-out")
    stage.rival.signed_in = other
    browser.sign_in_with("rival")
    _expect(stage, browser, other.email)
    stage.mark()
    browser.land(callback)


@attack("linking what belongs to another person")
def _linking_anothers(stage: Stage) -> None:
    stage.newcomer("lab")
    mallory, _ = stage.newcomer("rival")
    mallory.sign_in_with("lab", "?process=connect")


@attack("linking from a foreign form")
def _linking_from_foreign_form(stage: Stage) -> None:
    victim, _ = stage.newcomer("rival")
    stage.lab.signed_in = stage.account()
    answer = victim.http.post("/sign-in/with/lab?process=connect", headers={"Origin": f"https://{EVIL}"})
    target = victim.target(answer)
    if target.startswith(stage.lab.url):
        victim.land(victim.consent(target))


def _expect(stage: Stage, browser: Browser, email: str) -> None:
    """A step of the attack that must have gone right, or it has shown nothing."""
    if browser.who() != email:
        stage.complaints.append(f"expected {email or 'nobody'} to be signed in, found {browser.who() or 'nobody'}")
