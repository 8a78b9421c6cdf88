"""People: the first owner, signing in, and who am I."""

from __future__ import annotations

import time

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from trainshed.errors import Conflict, InvalidInput, NotFound, NotSignedIn
from trainshed.schemas import Me, TokenView
from trainshed.server.records.models import Membership, Person, Project, Token, Workspace
from trainshed.server.services import tokens, workspaces
from trainshed.server.services.actors import Actor, hash_secret, new_secret, person_actor, require_person

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
    workspace = Workspace.objects.create(name="My workspace")
    Membership.objects.create(workspace=workspace, person=person, role="owner")
    Project.objects.create(workspace=workspace, name="My project")
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


def sign_in(email: str, password: str, *, token_name: str) -> TokenView:
    """A personal token for the right password."""
    return tokens.issue(person_actor(recognise(email, password)), name=token_name)


def recognise(email: str, password: str) -> Person:
    """The person with that password. A wrong one costs the same time whether or not the person exists."""
    person = Person.objects.filter(email=email.strip().lower(), is_active=True).first()
    if person is None:
        make_password(password)
    if person is None or not person.check_password(password):
        raise NotSignedIn("The e-mail address or the password is wrong.", hint="Try again.")
    return person


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
