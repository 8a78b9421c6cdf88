"""People: the first owner, signing in, and who am I."""

from __future__ import annotations

import time
from dataclasses import replace

from allauth.account.models import EmailAddress
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from trainshed.errors import Conflict, InvalidInput, NotFound, NotSignedIn, SecondFactorNeeded
from trainshed.schemas import Me, PersonView, TokenView
from trainshed.server.records.models import AuditRow, Person, Token
from trainshed.server.services import accounts, audit, limits, names, tokens, workspaces
from trainshed.server.services.actors import (
    Actor,
    hash_secret,
    new_secret,
    person_actor,
    require_administrator,
    require_person,
    require_whole_person,
)

_SETUP_DAYS = 7


def new_setup_code() -> str | None:
    """A one-time code for the first owner, replacing any earlier one; `None` once somebody has signed up."""
    if Person.objects.exists():
        return None
    code = new_secret("setup")
    with transaction.atomic():
        Token.objects.filter(kind="setup").delete()
        expires_at = time.time() + _SETUP_DAYS * 86400
        Token.objects.create(kind="setup", name="first owner", sha256=hash_secret(code), expires_at=expires_at)
    return code


@transaction.atomic
def set_up(code: str, *, name: str, email: str, password: str) -> TokenView:
    """Make the first owner and return a token of theirs."""
    person = make_first_owner(code, name=name, email=email, password=password)
    return tokens.issue(person_actor(person), name="first sign-in")


@transaction.atomic
def make_first_owner(code: str, *, name: str, email: str, password: str) -> Person:
    """Make the first owner, who is also the administrator, with a workspace and a project."""
    token = Token.objects.select_for_update().filter(kind="setup", sha256=hash_secret(code)).first()
    if token is None or (token.expires_at or 0) < time.time():
        raise NotFound("This setup code is unknown or used up.", hint="`trainshed up` prints a new one at its start.")
    if Person.objects.exists():
        raise Conflict("The first owner has already been made.", hint="Sign in instead.")
    _prove(name, email, password)
    person = Person.objects.create_person(email, name, password, is_administrator=True)
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    workspaces.ensure_personal(person)
    token.delete()
    return person


def _prove(name: str, email: str, password: str) -> None:
    problems = []
    try:
        Person(email=email).clean_fields(exclude=["name", "password"])
    except ValidationError:
        problems.append({"field": "email", "message": f"{email[:300]!r} is not an e-mail address."})
    if not name.strip() or len(name) > 200:
        problems.append({"field": "name", "message": "The name must have 1 to 200 characters."})
    try:
        validate_password(password, Person(email=email, name=name))
    except ValidationError as error:
        problems += [{"field": "password", "message": message} for message in error.messages]
    if problems:
        raise InvalidInput(" ".join(problem["message"] for problem in problems), details=problems)


def sign_in(email: str, password: str, *, token_name: str, address: str, code: str = "") -> TokenView:
    """A personal token for the right password, and for the code of the second factor of whoever has one.

    Raises `NotSignedIn`, `SecondFactorNeeded` and, after too many wrong tries, `TooManyRequests`.
    """
    person = recognise(email, password, address)
    if accounts.second_factor_needed(person):
        _prove_second_factor(person, code)
    if accounts.must_verify_email() and not EmailAddress.objects.filter(user=person, verified=True).exists():
        raise NotSignedIn("Your e-mail address is not proved yet.", hint="Open the link in the mail, then sign in.")
    workspaces.ensure_personal(person)
    return tokens.issue(person_actor(person, address=address), name=token_name)


def _prove_second_factor(person: Person, code: str) -> None:
    if not code:
        raise SecondFactorNeeded()
    limits.take(limits.SECOND_FACTORS, person.id)
    if not accounts.second_factor_fits(person, code.strip()):
        raise SecondFactorNeeded("That code is wrong, or has been used already.")
    limits.forgive(limits.SECOND_FACTORS, person.id)


def recognise(email: str, password: str, address: str) -> Person:
    """The person with that password. A wrong one costs the same time whether or not the person exists.

    Raises `NotSignedIn`, and `TooManyRequests` after too many wrong ones.
    """
    limits.take_guess(address, email)
    person = Person.objects.filter(email=email.strip().lower(), is_active=True).first()
    if person is None:
        make_password(password)
    if person is None or not person.check_password(password):
        raise NotSignedIn("The e-mail address or the password is wrong.", hint="Try again.")
    limits.forgive_guess(address, email)
    return person


@transaction.atomic
def rename(actor: Actor, name: str) -> Me:
    """Give the acting person another name."""
    person = require_person(actor, "write")
    person.name = names.proved(name, "Your", most=200)
    person.save(update_fields=["name"])
    audit.note(actor, "person.rename", person)
    return me(replace(actor, person=person))


def delete(actor: Actor) -> None:
    """Delete the acting person's account: what is of them alone goes, what they made for a workspace stays with it.

    Raises `Conflict` while others need them: as the last owner of a workspace, or as the last administrator.
    """
    person = require_whole_person(actor)
    _prove_free(person)
    workspaces.go_with(actor)
    with transaction.atomic():
        audit.note(actor, "person.delete")
        AuditRow.objects.filter(actor=actor.label).exclude(address="").update(address="")
        person.delete()


def _prove_free(person: Person) -> None:
    others = Person.objects.filter(is_active=True).exclude(id=person.id)
    if person.is_administrator and others.exists() and not others.filter(is_administrator=True).exists():
        raise Conflict("You are the only administrator of this installation.", hint="Make somebody else one, then go.")
    for membership in person.memberships.filter(role="owner", workspace__deleted_at=None).select_related("workspace"):
        rest = membership.workspace.memberships.exclude(person=person)
        if rest.exists() and not rest.filter(role="owner").exists():
            raise Conflict(
                f"You are the only owner of the workspace {membership.workspace.name!r}, which others use.",
                hint="Make one of them an owner, then go.",
            )


def everybody(actor: Actor) -> list[PersonView]:
    """All people of the installation, for its administrators."""
    require_administrator(actor, "read")
    return [_view(row) for row in Person.objects.order_by("created_at")]


@transaction.atomic
def switch(
    actor: Actor, person_id: str, *, is_active: bool | None = None, is_administrator: bool | None = None
) -> PersonView:
    """Switch an account off or on, or make somebody an administrator or none; never the last one."""
    require_administrator(actor)
    row = Person.objects.select_for_update().filter(id=person_id).first()
    if row is None:
        raise NotFound()
    row.is_active = row.is_active if is_active is None else is_active
    row.is_administrator = row.is_administrator if is_administrator is None else is_administrator
    row.save(update_fields=["is_active", "is_administrator"])
    if not Person.objects.filter(is_active=True, is_administrator=True).exists():
        raise Conflict("Somebody has to be an administrator.", hint="Make another person one first.")
    if not row.is_active:
        row.sessions.all().delete()
    audit.note(actor, "person.switch", row, is_active=row.is_active, is_administrator=row.is_administrator)
    return _view(row)


def _view(row: Person) -> PersonView:
    return PersonView(
        id=row.id,
        name=row.name,
        email=row.email,
        is_active=row.is_active,
        is_administrator=row.is_administrator,
        created_at=row.created_at,
    )


def exist() -> bool:
    """Whether anybody has been made: until then the one-time link is the only way in."""
    return Person.objects.exists()


def me(actor: Actor) -> Me:
    person = require_person(actor)
    return Me(
        id=person.id,
        name=person.name,
        email=person.email,
        is_administrator=person.is_administrator,
        workspaces=workspaces.visible(actor),
    )
