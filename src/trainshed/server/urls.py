"""Where Django's doors are. Event streams, uploads and predictions are routed in `asgi.py`, before these."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.translation import gettext as _

from trainshed.errors import Forbidden, NotFound, TrainshedError
from trainshed.server.api.errors import respond
from trainshed.server.api.main import api
from trainshed.server.web.door import problem

urlpatterns = [path("api/v1/", api.urls), path("", include("trainshed.server.web.urls"))]
handler404 = "trainshed.server.urls.not_found"
handler500 = "trainshed.server.urls.broken"


def not_found(request: HttpRequest, exception: object) -> HttpResponse:
    return _in_its_own_shape(request, NotFound(_("There is nothing at %(path)s.") % {"path": request.path}))


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the proof that it is ours; Django's own page would need a style that our policy blocks."""
    words = _("This form did not come from a page of this server, or the page was too old.")
    error = Forbidden(words, hint=_("Go back, reload the page and try again."))
    return _in_its_own_shape(request, error, title=_("That form is not taken"))


def broken(request: HttpRequest) -> HttpResponse:
    return _in_its_own_shape(request, TrainshedError(hint=_("The server's log names the cause.")))


def _in_its_own_shape(request: HttpRequest, error: TrainshedError, title: str = "") -> HttpResponse:
    """A program gets a problem document, a person a page."""
    return respond(error) if request.path.startswith("/api/") else problem(request, error, title=title)
