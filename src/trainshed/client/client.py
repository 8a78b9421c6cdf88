"""`Client`: one server, one person, one project; its nouns hold the methods."""

from __future__ import annotations

import socket
import uuid
from typing import Any

from trainshed.client import credentials
from trainshed.client.answers import parse
from trainshed.client.audit import Audit
from trainshed.client.datasets import Datasets
from trainshed.client.hosts import Hosts
from trainshed.client.jobs import Jobs
from trainshed.client.models import Models
from trainshed.client.people import People, Sessions
from trainshed.client.place import Place
from trainshed.client.quotas import Quotas
from trainshed.client.shares import Shares
from trainshed.client.tokens import Tokens
from trainshed.client.transport import Transport, normal_url
from trainshed.client.versions import Versions
from trainshed.client.workspaces import Invites, Members, Projects, Robots, Workspaces
from trainshed.errors import NotFound
from trainshed.schemas import DatasetView, JobView, Me, Recipe, SplitPlan, TokenView, VersionView, settings


class Client:
    """Speaks to one Trainshed server.

        client = Client()
        arrived = client.datasets.import_folder("flowers")
        client.jobs.wait(arrived.job)
        job = client.train(arrived.dataset)
        client.jobs.watch(job, print)
        print(client.models.predict("flowers", "rose.jpg"))

    `url` and `token` come from the arguments, else from TRAINSHED_URL and TRAINSHED_TOKEN, else from what
    `trainshed login` kept. `workspace` and `project` are names or ids; without them the first of each is
    used. `timeout` is in seconds, for connecting and for each silence. Safe to share between threads.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        workspace: str = "",
        project: str = "",
        timeout: float = 30.0,
    ) -> None:
        url, token = address(url, token)
        self.transport = Transport(url, token, timeout)
        self._place = Place(self.transport, workspace, project)
        self.jobs = Jobs(self.transport, self._place)
        self.datasets = Datasets(self.transport, self._place)
        self.versions = Versions(self.transport, self._place, self.jobs)
        self.models = Models(self.transport, self._place)
        self.hosts = Hosts(self.transport)
        self.tokens = Tokens(self.transport)
        self.sessions = Sessions(self.transport)
        self.people = People(self.transport)
        self.audit = Audit(self.transport, self._place)
        self.quotas = Quotas(self.transport, self._place)
        self.workspaces = Workspaces(self.transport, self._place)
        self.members = Members(self.transport, self._place)
        self.invites = Invites(self.transport, self._place)
        self.robots = Robots(self.transport, self._place)
        self.projects = Projects(self.transport, self._place)
        self.shares = Shares(self.transport, self._place)

    @property
    def url(self) -> str:
        return self.transport.url

    def health(self) -> dict[str, Any]:
        """What the server says of itself, `{"status": "ok", "version": ...}`; asked once, needs no token."""
        return dict(self.transport.request("GET", "/health", retries=0).json())

    def me(self) -> Me:
        """Who the caller is and where they belong; asked for once."""
        return self._place.me()

    def setup(self, code: str, name: str, email: str, password: str) -> TokenView:
        """Make the first owner of a fresh installation with the code that `trainshed up` printed; sign in."""
        body = {"code": code, "name": name, "email": email, "password": password}
        return self._enter(parse(TokenView, self.transport.request("POST", "/setup", json=body)))

    def sign_in(self, email: str, password: str, token_name: str = "", code: str = "") -> TokenView:
        """Exchange a password for a token, which this client uses from now on.

        Raises `SecondFactorNeeded` for whoever has a second factor: then `code` is what the app shows now.
        """
        body = {
            "email": email,
            "password": password,
            "token_name": token_name or f"SDK on {socket.gethostname()}",
            "code": code,
        }
        return self._enter(parse(TokenView, self.transport.request("POST", "/sign-in", json=body)))

    def exchange(self, code: str, verifier: str) -> TokenView:
        """Exchange what a browser brought (`client.browser`) for a token, which this client uses from now on."""
        body = {"code": code, "verifier": verifier}
        return self._enter(parse(TokenView, self.transport.request("POST", "/login-codes", json=body)))

    def train(
        self,
        what: VersionView | DatasetView | str,
        recipe: Recipe | None = None,
        name: str = "",
        split: SplitPlan | None = None,
    ) -> JobView:
        """Queue a training on a version, or on a dataset (view, id or name) as it is now.

        A dataset's newest version is used while it still fits, else a new one is made and waited for.
        Without a `recipe` the defaults train a classifier. Watch it with `client.jobs.watch`.
        """
        version = self._version_of(what, split)
        body = {"version_id": version.id, "recipe": (recipe or Recipe()).model_dump(), "name": name}
        answer = self.transport.request(
            "POST",
            f"{self._place.path(version)}/trainings",
            json=body,
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )
        return parse(JobView, answer)

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _version_of(self, what: VersionView | DatasetView | str, split: SplitPlan | None) -> VersionView:
        if isinstance(what, VersionView):
            return what
        if isinstance(what, DatasetView):
            return self.versions.current(self.datasets.get(what), split)
        try:
            return self.versions.get(what)
        except NotFound:
            return self.versions.current(self.datasets.find(what), split)

    def _enter(self, answer: TokenView) -> TokenView:
        self.transport.token = answer.token or ""
        self._place.forget()
        return answer


def address(url: str | None = None, token: str | None = None) -> tuple[str, str]:
    """Where the server is and the token for it: arguments, then settings, then the credentials file."""
    url = url or settings.text("TRAINSHED_URL")
    token = token or settings.text("TRAINSHED_TOKEN")
    if url and token:
        return url, token
    known = credentials.read()
    url = normal_url(url or known.last_url or f"http://127.0.0.1:{settings.whole('TRAINSHED_PORT')}")
    entry = known.servers.get(url)
    return url, token or (entry.token if entry else "")
