"""Signing in, who am I, and my tokens."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status
from pydantic import Field

from trainshed.schemas import Me, Page, PersonView, SessionView, TokenView
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import actor, address, answers, router
from trainshed.server.services import login_codes, people, sessions, tokens

routes = router("people")


class SetUp(Received):
    code: str
    name: str
    email: str
    password: str = Field(max_length=1000)


class SignIn(Received):
    email: str
    password: str = Field(max_length=1000)
    token_name: str = Field("sign-in", max_length=200)
    code: str = Field("", max_length=40, description="Of the second factor, for whoever has one.")


class LoginCode(Received):
    code: str = Field(max_length=100)
    verifier: str = Field(min_length=43, max_length=128)


class NewName(Received):
    name: str


class Switch(Received):
    """What is left out stays."""

    is_active: bool | None = None
    is_administrator: bool | None = None


class NewToken(Received):
    name: str = Field(min_length=1, max_length=200)
    scopes: list[str] = Field(default_factory=lambda: ["read", "write", "jobs"])
    expires_in_days: float | None = Field(90, gt=0, le=3650)
    workspace_id: str | None = None


@routes.post("/setup", auth=None, response=answers(TokenView, 201))
def set_up(request: HttpRequest, body: SetUp):
    """Make the first owner with the one-time code that `trainshed up` printed."""
    return Status(201, people.set_up(body.code, name=body.name, email=body.email, password=body.password))


@routes.post("/sign-in", auth=None, response=answers(TokenView, 201))
def sign_in(request: HttpRequest, body: SignIn):
    """A personal access token for an e-mail address and a password."""
    said = {"token_name": body.token_name, "address": address(request), "code": body.code}
    return Status(201, people.sign_in(body.email, body.password, **said))


@routes.post("/login-codes", auth=None, response=answers(TokenView, 201))
def exchange_login_code(request: HttpRequest, body: LoginCode):
    """A token for the code that the browser brought to a command line (RFC 7636)."""
    return Status(201, login_codes.exchange(body.code, body.verifier, address=address(request)))


@routes.get("/me", response=answers(Me))
def me(request: HttpRequest):
    """Who am I, and in which workspaces?"""
    return people.me(actor(request))


@routes.patch("/me", response=answers(Me))
def rename_me(request: HttpRequest, body: NewName):
    """Give me another name."""
    return people.rename(actor(request), body.name)


@routes.delete("/me", response=answers(None, 204))
def delete_me(request: HttpRequest):
    """Delete my account; what I made for a workspace stays with it."""
    people.delete(actor(request))
    return Status(204, None)


@routes.get("/sessions", response=answers(Page[SessionView]))
def list_sessions(request: HttpRequest):
    """The browsers in which I am signed in."""
    return Page(items=sessions.visible(actor(request), request.COOKIES))


@routes.delete("/sessions/{session_id}", response=answers(None, 204))
def end_session(request: HttpRequest, session_id: str):
    """Sign one of my browsers out."""
    sessions.end(actor(request), session_id)
    return Status(204, None)


@routes.get("/people", response=answers(Page[PersonView]))
def list_people(request: HttpRequest):
    """Everybody with an account, for administrators of the installation."""
    return Page(items=people.everybody(actor(request)))


@routes.patch("/people/{person_id}", response=answers(PersonView))
def switch_person(request: HttpRequest, person_id: str, body: Switch):
    """Switch an account off or on, or make somebody an administrator; for administrators of the installation."""
    switched = {"is_active": body.is_active, "is_administrator": body.is_administrator}
    return people.switch(actor(request), person_id, **switched)


@routes.get("/tokens", response=answers(Page[TokenView]))
def list_tokens(request: HttpRequest):
    """My tokens, without their secrets."""
    return Page(items=tokens.visible(actor(request)))


@routes.post("/tokens", response=answers(TokenView, 201))
def create_token(request: HttpRequest, body: NewToken):
    """Make a token; its secret is in this answer and never shown again."""
    said = body.model_dump() | {"scopes": tuple(body.scopes)}
    return Status(201, tokens.issue(actor(request), **said))


@routes.delete("/tokens/{token_id}", response=answers(None, 204))
def revoke_token(request: HttpRequest, token_id: str):
    """Revoke one of my tokens, at once."""
    tokens.revoke(actor(request), token_id)
    return Status(204, None)
