"""How somebody becomes a person here and proves to be them: allauth's flows with our rules.

Who may sign up, what a session remembers, and which identities belong to whom. The pages are in `web/accounts.py`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.models import EmailAddress
from allauth.account.signals import password_changed, password_reset, password_set
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.signals import social_account_added, social_account_removed, social_account_updated
from django import forms
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.dispatch import receiver
from django.http import HttpRequest
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from trainshed.errors import InvalidInput, TrainshedError
from trainshed.schemas import settings
from trainshed.server import vault
from trainshed.server.records.cache import CacheRow
from trainshed.server.records.cache import belongs_to as of_cache
from trainshed.server.records.ids import new_id
from trainshed.server.records.models import Invite, Person, ProviderGrant, Session
from trainshed.server.records.sessions import belongs_to as of_session
from trainshed.server.records.sessions import hashed
from trainshed.server.services import applications, audit, limits, names, providers, workspaces
from trainshed.server.services.actors import Actor, hash_secret, person_actor, require_person

_INVITED = "invite"


def sign_up_policy() -> tuple[str, tuple[str, ...]]:
    """`closed`, `open` or `domains`, and those."""
    said = settings.text("TRAINSHED_SIGN_UP").lower()
    if said in ("closed", "open"):
        return said, ()
    return "domains", tuple(part.strip().lstrip("@") for part in said.split(",") if part.strip())


def remember_invite(request: HttpRequest, secret: str) -> None:
    """Let this browser make an account although sign-up is closed, as long as the invite holds."""
    request.session[_INVITED] = hash_secret(secret)


def invite_of(request: HttpRequest) -> Invite | None:
    """The invite that this browser came with, if it still holds."""
    kept = Invite.objects.filter(sha256=request.session.get(_INVITED, ""), accepted_at=None, revoked_at=None)
    return kept.filter(expires_at__gt=time.time()).first()


def may_sign_up(request: HttpRequest) -> bool:
    return sign_up_policy()[0] != "closed" or invite_of(request) is not None


def _is_welcome(request: HttpRequest, email: str) -> bool:
    """Whether somebody with this address may make an account."""
    policy, domains = sign_up_policy()
    invite = invite_of(request)
    if invite is not None and invite.email in ("", email.lower()):
        return True
    return policy == "open" or (policy == "domains" and email.lower().rpartition("@")[2] in domains)


def enter(request: HttpRequest, person: Person) -> None:
    """Begin a session for a person who has proved to be them."""
    get_adapter(request).login(request, person)


def address_of(request: HttpRequest) -> str:
    """Where the request came from; web has looked past the proxies that are trusted already."""
    return str(request.META.get("REMOTE_ADDR", ""))


class NamedForm(forms.Form):
    """What we ask beside the e-mail address and the password."""

    name = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    field_order = ("name", "email", "password1")

    def clean_name(self) -> str:
        try:
            return names.proved(self.cleaned_data["name"], _("Your"), most=200)
        except InvalidInput as error:
            raise ValidationError(error.message) from None

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = super().clean() or self.cleaned_data
        if said.get("email") and not _is_welcome(context.request, said["email"]):
            self.add_error("email", _("Accounts here are not open to this address. Ask an owner for an invite to it."))
        return said

    def signup(self, request: HttpRequest, person: Person) -> None:
        """Nothing more: the adapter has kept the name."""


class AccountAdapter(DefaultAccountAdapter):
    """Accounts with a password, and every session however it began."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": gettext_lazy("This account is switched off."),
        "email_password_mismatch": gettext_lazy("The e-mail address or the password is wrong."),
        "email_taken": gettext_lazy("There is an account with this e-mail address already."),
        "incorrect_password": gettext_lazy("The password is wrong."),
        "incorrect_code": gettext_lazy("That code is wrong, or has been used already."),
        "enter_current_password": gettext_lazy("The password is wrong."),
        "too_many_login_attempts": gettext_lazy("There were too many tries; wait a little."),
        "rate_limited": gettext_lazy("There were too many tries; wait a little."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return may_sign_up(request)

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """An invite that was sent to an address proves it."""
        invite = invite_of(request)
        return bool(invite and invite.email == email.lower()) or super().is_email_verified(request, email)

    def save_user(self, request: HttpRequest, user: Person, form: Any, commit: bool = True) -> Person:
        user.name = form.cleaned_data.get("name", "")
        user.email = form.cleaned_data["email"].lower()
        super().save_user(request, user, form, commit=commit)
        return user

    def get_client_ip(self, request: HttpRequest) -> str:
        return address_of(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """allauth would count here too; our limits do."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Who has this password. Raises `TooManyRequests` after too many wrong ones, here or at the REST door."""
        address, email = self.get_client_ip(request), credentials.get("email", "")
        limits.take_guess(address, email)
        person = super().authenticate(request, **credentials)
        if person is not None:
            limits.forgive_guess(address, email)
        return person

    def login(self, request: HttpRequest, user: Person) -> None:
        """Begin the session, remember where it is, and see to it that its person has a place to work."""
        begun_as_guest = {_INVITED: request.session.get(_INVITED)}
        super().login(request, user)
        request.session.update({name: value for name, value in begun_as_guest.items() if value})
        address = self.get_client_ip(request)
        request.session["about"] = {
            "public_id": new_id(),
            "address": address,
            "browser": request.META.get("HTTP_USER_AGENT", "")[:300],
            "created_at": time.time(),
        }
        request.session.clear_expired()
        workspaces.ensure_personal(user)
        audit.note(person_actor(user, address=address), "session.begin", user)

    def post_login(self, request: HttpRequest, user: Person, *, signal_kwargs: Any = None, **named: Any) -> Any:
        if signal_kwargs and "sociallogin" in signal_kwargs:
            _keep_refresh_token(user, signal_kwargs["sociallogin"])
        return super().post_login(request, user, signal_kwargs=signal_kwargs, **named)

    def logout(self, request: HttpRequest) -> None:
        if request.user.is_authenticated:
            actor = person_actor(request.user, address=self.get_client_ip(request))
            audit.note(actor, "session.end", request.user)
            applications.end([request.session.get("about", {}).get("public_id", "")])
        super().logout(request)

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return "/settings/sign-in"

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        confirmed = bool(super().confirm_email(request, email_address))
        if confirmed:
            audit.note(person_actor(email_address.user, address=self.get_client_ip(request)), "email.confirm")
        return confirmed


class IdentityAdapter(DefaultSocialAccountAdapter):
    """Accounts at a provider. An identity is an issuer's subject; an e-mail address alone is never one."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        verified = [address.email for address in sociallogin.email_addresses if address.verified]
        return any(_is_welcome(request, email) for email in verified) or (may_sign_up(request) and not verified)

    def list_apps(self, request: HttpRequest, provider: str | None = None, client_id: str | None = None) -> list[Any]:
        """The providers that the settings name; none is kept in the database."""
        return [
            app
            for app in providers.apps()
            if provider in (None, app.provider, app.provider_id) and client_id in (None, app.client_id)
        ]

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Refuse what would make one person of two: an address that somebody else has here."""
        if sociallogin.is_existing or sociallogin.state.get("process") == "connect":
            return
        verified = [address.email.lower() for address in sociallogin.email_addresses if address.verified]
        # An unverified address proves nothing, so it is not even suggested.
        sociallogin.email_addresses = [address for address in sociallogin.email_addresses if address.verified]
        sociallogin.user.email = verified[0] if verified else ""
        if Person.objects.filter(email__in=verified).exists():
            page = render(request, "socialaccount/link_instead.html", {"provider": sociallogin.provider}, status=409)
            raise ImmediateHttpResponse(page)

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> Person:
        person: Person = sociallogin.user
        person.email = (data.get("email") or "").lower()
        said = " ".join(str(data.get(part) or "") for part in ("first_name", "last_name")).strip()
        person.name = str(data.get("name") or said or person.email.partition("@")[0])[:200]
        return person

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Person:
        person: Person = sociallogin.user
        if form is not None:
            person.name = form.cleaned_data["name"]
            person.email = form.cleaned_data["email"].lower()
        person.set_unusable_password()
        sociallogin.save(request)
        return person

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: SocialAccount) -> str:
        return "/settings/sign-in"


class SecondFactorAdapter(DefaultMFAAdapter):
    """Second factors: their secrets are sealed."""

    def encrypt(self, text: str) -> str:
        return vault.seal(text, belongs_to="second factor")

    def decrypt(self, encrypted_text: str) -> str:
        return vault.unseal(encrypted_text, belongs_to="second factor")


@receiver([social_account_added, social_account_updated])
def _linked(request: HttpRequest, sociallogin: Any, **_named: Any) -> None:
    _keep_refresh_token(sociallogin.user, sociallogin)
    actor = person_actor(sociallogin.user, address=address_of(request))
    audit.note(actor, "identity.link", provider=sociallogin.account.provider)


@receiver([password_changed, password_reset, password_set])
def _password_is_new(request: HttpRequest, user: Person, **_named: Any) -> None:
    """Whoever was signed in with the old one is out, here and in every application."""
    others = user.sessions.exclude(session_key=hashed(request.session.session_key or ""))
    ids = list(others.values_list("public_id", flat=True))
    others.delete()
    applications.end(ids)
    audit.note(person_actor(user, address=address_of(request)), "password.change", user)


@receiver([authenticator_added, authenticator_removed, authenticator_reset])
def _factor_is_new(request: HttpRequest, user: Person, authenticator: Any, signal: Any, **_named: Any) -> None:
    verb = "remove" if signal is authenticator_removed else "set"
    audit.note(person_actor(user, address=address_of(request)), f"second_factor.{verb}", user, kind=authenticator.type)


@receiver(social_account_removed)
def _unlinked(request: HttpRequest, socialaccount: SocialAccount, **_named: Any) -> None:
    person: Person = socialaccount.user
    ProviderGrant.objects.filter(person=person, provider=socialaccount.provider).delete()
    audit.note(person_actor(person, address=address_of(request)), "identity.unlink", provider=socialaccount.provider)


def _keep_refresh_token(person: Person, sociallogin: Any) -> None:
    """Seal what a provider gives us for later, bound to the person and the provider."""
    secret = getattr(sociallogin.token, "token_secret", "") or ""
    account = sociallogin.account
    if secret:
        sealed = vault.seal(secret, belongs_to=_grant_of(person.id, account.provider))
        values = {"person": person, "sealed": sealed, "updated_at": time.time()}
        ProviderGrant.objects.update_or_create(provider=account.provider, subject=account.uid, defaults=values)


def _grant_of(person_id: str, provider: str) -> str:
    return f"provider grant {person_id} {provider}"


def refresh_token(person: Person, provider: str) -> str | None:
    """What this provider gave us for this person, opened; `None` if nothing."""
    row = ProviderGrant.objects.filter(person=person, provider=provider).first()
    return vault.unseal(row.sealed, belongs_to=_grant_of(person.id, provider)) if row else None


def reseal() -> int:
    """Seal everything under the newest key; returns how many secrets moved. Safe to repeat, and while others write."""
    moved = [_moved(row, "sealed", _grant_of(row.person_id, row.provider)) for row in ProviderGrant.objects.iterator()]
    for records, field, belongs_to in ((Session, "session_data", of_session), (CacheRow, "value", of_cache)):
        for row in records.objects.iterator():
            try:
                moved.append(_moved(row, field, belongs_to(row.pk)))
            except TrainshedError:
                row.delete()  # what passes anyway, and opens nothing any more
    return sum(moved) + sum(_reseal_factor(factor) for factor in Authenticator.objects.iterator())


def _moved(row: Any, field: str, belongs_to: str) -> int:
    before = getattr(row, field)
    if vault.is_sealed_under_newest(before):
        return 0
    return _replaced(row, field, vault.seal(vault.unseal(before, belongs_to=belongs_to), belongs_to=belongs_to))


def _replaced(row: Any, field: str, after: Any) -> int:
    """Unless somebody has written there meanwhile, who had the newest key already."""
    before = getattr(row, field)
    return int(type(row).objects.filter(pk=row.pk, **{field: before}).update(**{field: after}))


def _reseal_factor(factor: Authenticator) -> int:
    """Recovery codes and the secret of an authenticator app stand in the fields that allauth gives them."""
    adapter = SecondFactorAdapter()
    old = {
        name: sealed
        for name in ("secret", "seed")
        if isinstance(sealed := factor.data.get(name), str) and not vault.is_sealed_under_newest(sealed)
    }
    fresh = {name: adapter.encrypt(adapter.decrypt(sealed)) for name, sealed in old.items()}
    return _replaced(factor, "data", {**factor.data, **fresh}) if fresh else 0


def second_factor_needed(person: Person) -> bool:
    return Authenticator.objects.filter(user=person, type=Authenticator.Type.TOTP).exists()


def second_factor_fits(person: Person, code: str) -> bool:
    """Whether this code of an authenticator app, or of the recovery codes, is good right now; it is then used up."""
    return any(factor.wrap().validate_code(code) for factor in Authenticator.objects.filter(user=person))


def must_verify_email() -> bool:
    return str(django_settings.ACCOUNT_EMAIL_VERIFICATION) == "mandatory"


@dataclass(frozen=True)
class Link:
    """An account at a provider that leads in here."""

    id: int
    provider: str
    name: str


@dataclass(frozen=True)
class WaysIn:
    """How a person signs in."""

    has_password: bool
    email: str
    is_verified: bool
    has_app: bool
    num_codes: int
    links: list[Link]
    others: dict[str, str]
    """The providers that are not linked yet, by id."""


def ways_in(actor: Actor) -> WaysIn:
    """How the acting person signs in, and could."""
    person = require_person(actor)
    known = providers.names()
    linked = [_link(row, known) for row in SocialAccount.objects.filter(user=person).order_by("id")]
    factors = {row.type: row for row in Authenticator.objects.filter(user=person)}
    codes = factors.get(Authenticator.Type.RECOVERY_CODES)
    taken = {link.provider for link in linked}
    return WaysIn(
        has_password=person.has_usable_password(),
        email=person.email,
        is_verified=EmailAddress.objects.filter(user=person, email=person.email, verified=True).exists(),
        has_app=Authenticator.Type.TOTP in factors,
        num_codes=len(codes.wrap().get_unused_codes()) if codes else 0,
        links=linked,
        others={id_: name for id_, name in known.items() if id_ not in taken},
    )


def _link(row: SocialAccount, known: dict[str, str]) -> Link:
    told = row.extra_data.get("userinfo", row.extra_data)
    name = told.get("email") or told.get("preferred_username") or told.get("name") or ""
    return Link(
        row.id, row.provider, f"{known.get(row.provider, row.provider)} ({name})" if isinstance(name, str) else ""
    )
