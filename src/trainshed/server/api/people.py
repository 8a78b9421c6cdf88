"""Signing in, tokens, workspaces and projects."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status
from pydantic import Field

from trainshed.schemas import Me, Page, ProjectView, TokenView, WorkspaceView
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import actor, answers, router
from trainshed.server.services import people, tokens, workspaces

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


class NewToken(Received):
    name: str = Field(min_length=1, max_length=200)
    scopes: list[str] = Field(default_factory=lambda: ["read", "write", "jobs"])
    expires_in_days: float | None = Field(90, gt=0, le=3650)


class NewProject(Received):
    name: str


@routes.post("/setup", auth=None, response=answers(TokenView, 201))
def set_up(request: HttpRequest, body: SetUp):
    """Make the first owner with the one-time code that `trainshed up` printed."""
    return Status(201, people.set_up(body.code, name=body.name, email=body.email, password=body.password))


@routes.post("/sign-in", auth=None, response=answers(TokenView, 201))
def sign_in(request: HttpRequest, body: SignIn):
    """A personal access token for an e-mail address and a password."""
    return Status(201, people.sign_in(body.email, body.password, token_name=body.token_name))


@routes.get("/me", response=answers(Me))
def me(request: HttpRequest):
    """Who am I, and in which workspaces?"""
    return people.me(actor(request))


@routes.get("/tokens", response=answers(Page[TokenView]))
def list_tokens(request: HttpRequest):
    """My tokens, without their secrets."""
    return Page(items=tokens.visible(actor(request)))


@routes.post("/tokens", response=answers(TokenView, 201))
def create_token(request: HttpRequest, body: NewToken):
    """Make a token; its secret is in this answer and never shown again."""
    made = tokens.issue(actor(request), name=body.name, scopes=tuple(body.scopes), expires_in_days=body.expires_in_days)
    return Status(201, made)


@routes.delete("/tokens/{token_id}", response=answers(None, 204))
def revoke_token(request: HttpRequest, token_id: str):
    """Revoke one of my tokens, at once."""
    tokens.revoke(actor(request), token_id)
    return Status(204, None)


@routes.get("/workspaces", response=answers(Page[WorkspaceView]))
def list_workspaces(request: HttpRequest):
    """Workspaces that I belong to, and the shelf."""
    return Page(items=workspaces.visible(actor(request)))


@routes.post("/workspaces/{workspace_id}/projects", response=answers(ProjectView, 201))
def create_project(request: HttpRequest, workspace_id: str, body: NewProject):
    """Make a project in a workspace."""
    return Status(201, workspaces.create_project(actor(request), workspace_id, body.name))
