"""What every page shares: who is looking, where, the frame around it, and errors as pages."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from trainshed.errors import MethodNotAllowed, NotFound, NotSignedIn, TrainshedError
from trainshed.schemas import Me, WorkspaceView
from trainshed.server.services import faults, hosts, people, sessions
from trainshed.server.services.actors import Actor, Place

log = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]


class Frame:
    """Who looks at a page, and in which workspace and project: what the menu around it shows."""

    def __init__(self, request: HttpRequest, actor: Actor, workspace_id: str | None, project_id: str | None) -> None:
        self.request, self.actor = request, actor
        self.me: Me = people.me(actor)
        self.workspace = _one(self.me.workspaces, workspace_id)
        self.project = _one(self.workspace.projects, project_id) if self.workspace.projects else None
        self.may_work = actor.may(self.workspace.id, "work")
        self.may_own = actor.may(self.workspace.id, "own")

    @property
    def place(self) -> Place:
        """Where the page is. Raises `NotFound` in a workspace without a project."""
        if self.project is None:
            raise NotFound()
        return Place(self.workspace.id, self.project.id)

    @property
    def elsewhere(self) -> list[dict[str, Any]]:
        """The projects that something of this one may move to, by workspace; out of one only an owner takes it."""
        mine = [each for each in self.me.workspaces if self.actor.may(each.id, "work")]
        open_ = mine if self.may_own else [each for each in mine if each.id == self.workspace.id]
        found = [
            {"name": each.name, "projects": [one for one in each.projects if one != self.project]} for each in open_
        ]
        return [each for each in found if each["projects"]]

    @property
    def gpus(self) -> dict[str, int]:
        """How many cards there are and how many of them nobody holds."""
        return hosts.gpus(self.actor)

    def show(self, template: str, status: int = 200, **values: Any) -> HttpResponse:
        """A page inside the frame."""
        return render(self.request, template, {"frame": self, **values}, status=status)


def _one(rows: list[Any], id_: str | None) -> Any:
    """The row that the address names, or the first. Raises `NotFound`."""
    for row in rows:
        if id_ is None or row.id == id_:
            return row
    raise NotFound()


def page(*methods: str) -> Callable[[View], View]:
    """A view for people: it gets the frame, and what goes wrong becomes a page with the error's words."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def opened(
            request: HttpRequest, workspace_id: str | None = None, project_id: str | None = None, **named: str
        ) -> HttpResponseBase:
            frame = None
            try:
                _require_method(request, methods)
                frame = Frame(request, visitor(request), workspace_id, project_id)
                return view(frame, **named)
            except NotSignedIn:
                return to_sign_in(request)
            except TrainshedError as error:
                return problem(request, error, frame)
            except (DatabaseError, InterfaceError) as error:
                return problem(request, faults.of_database(error))

        return opened

    return decorate


def public_page(*methods: str) -> Callable[[View], View]:
    """A view for whoever has its address, signed in or not; what goes wrong becomes a page as well."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def opened(request: HttpRequest, **named: str) -> HttpResponseBase:
            try:
                _require_method(request, methods)
                return view(request, **named)
            except TrainshedError as error:
                return problem(request, error)
            except (DatabaseError, InterfaceError) as error:
                return problem(request, faults.of_database(error))

        return opened

    return decorate


def _require_method(request: HttpRequest, methods: tuple[str, ...]) -> None:
    if request.method not in methods and not (request.method == "HEAD" and "GET" in methods):
        raise MethodNotAllowed()


def visitor(request: HttpRequest) -> Actor:
    """Who looks. Raises `NotSignedIn`."""
    return sessions.visitor(request.COOKIES, request.META.get("REMOTE_ADDR", ""))


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and back to where the person wanted to be: for a form, the page that it stands in."""
    wanted = request.get_full_path()
    if request.method not in ("GET", "HEAD"):
        page_of_form = urlsplit(request.headers.get("Referer", ""))
        wanted = page_of_form._replace(scheme="", netloc="").geturl() or "/"
    address = f"{reverse('account_login')}?{urlencode({'next': wanted})}"
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def problem(request: HttpRequest, error: TrainshedError, frame: Frame | None = None, title: str = "") -> HttpResponse:
    """An error as a page, or as a notice where only a part of a page was asked for."""
    titles = {403: _("You may look, but not do this"), 404: _("Not found")}
    values = {"error": error, "title": title or titles.get(error.status, _("That did not work"))}
    values["frame"] = frame or _frame_at_home(request, error)
    if request.headers.get("HX-Request"):
        # Whatever part was asked for is not in it.
        headers = {"HX-Retarget": "#notices", "HX-Reswap": "beforeend", "HX-Reselect": "unset"}
        return HttpResponse(render(request, "components/notice.html", values).content, headers=headers)
    return render(request, "problem.html", values, status=error.status)


def _frame_at_home(request: HttpRequest, error: TrainshedError) -> Frame | None:
    """The menu to go on from where the address led nowhere; none for a stranger, nor where something is broken."""
    if error.status >= 500:
        return None
    try:
        return Frame(request, visitor(request), None, None)
    except TrainshedError:
        return None


def around(request: HttpRequest) -> dict[str, Any]:
    """What every template may use: the name of the cookie that requests repeat, and the frame of who is signed in."""
    values: dict[str, Any] = {"proof_cookie": settings.CSRF_COOKIE_NAME}
    if request.user.is_authenticated:
        values["frame"] = SimpleLazyObject(lambda: _frame_at_home(request, NotFound()))
    return values


def workspace_address(workspace: WorkspaceView) -> str:
    return reverse("home", kwargs={"workspace_id": workspace.id})
