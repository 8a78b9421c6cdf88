"""Requests that nobody thought of: schemathesis makes them from the OpenAPI document, for every operation in it.

Asked by one who may, about things that are there or about anything, and by nobody at all: no answer is a fault of ours,
and each has a status, headers and a body that the document tells of. `make fuzz` looks for longer. What fails prints
its number of examples and its seed: `make fuzz ARGS=10:1234` makes the same requests again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import requests
import schemathesis
from schemathesis import Case, GenerationMode, checks
from schemathesis.schemas import APIOperation

from server import test_routes
from server.api_client import API, Caller, Lab
from server.test_routes import TABLE, Row, Scene

NUM_EXAMPLES, _, _said = os.environ.get("FUZZ", "8").partition(":")
SEED = int(_said or random.randrange(2**32))
# Who asks is decided here, and not by what is made up for these.
IDENTIFYING = ("authorization", "cookie")
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
Operation = APIOperation[Any, Any, Any, Any]


@cache
def _operations() -> dict[str, Operation]:
    """Every operation of the document, by its method and path as the routes' table has them."""
    from trainshed.server.asgi import api

    document = json.loads(json.dumps(api.get_openapi_schema()))
    found = [result.ok() for result in schemathesis.openapi.from_dict(document).get_all_operations()]
    return {f"{operation.method.upper()} {operation.path.removeprefix(API)}": operation for operation in found}


class Asker:
    """Somebody who may do what a route does, and all that it wants; both are made anew once it has been done."""

    def __init__(self, row: Row, session: requests.Session) -> None:
        self.row = row
        self._session = session
        self._is_fresh = False

    def ask(self, case: Case, site: str, who: str) -> schemathesis.Response:
        """The answer to a made-up request, as it is, or as it would be about things that are there."""
        if not self._is_fresh:
            self._prepare()
        case.headers = {name: value for name, value in case.headers.items() if name.lower() not in IDENTIFYING}
        if who != "nobody":
            case.headers["Authorization"] = f"Bearer {self._token}"
        if who == "owner":
            case.path_parameters = {**case.path_parameters, **self._ids}
            if isinstance(case.body, dict):
                case.body = {**case.body, **self._named_in(case.body)}
        answer = case.call(base_url=site, session=self._session, timeout=self._timeout_seconds)
        self._is_fresh = self.row.method == "GET" or answer.status_code >= 300
        return answer

    def _prepare(self) -> None:
        from django.db import transaction

        _clear()
        with transaction.atomic():
            scene = Scene(Lab(), "")
            actor = self.row.rule if self.row.rule in test_routes.MACHINES else "owner"
            self._token = scene.token = test_routes._token(actor, scene.lab, self.row.kind)
            self._ids = {**scene.ids, **self.row.things(scene)}
            self._body = self.row.body(scene).get("json", {})
        self._is_fresh = True

    def _named_in(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ids of things that are there, for those that the body names: else it would be refused at them alone."""
        return {name: value for name, value in self._body.items() if name in body and name.endswith(("_id", "sha256"))}

    @property
    def _timeout_seconds(self) -> float:
        """Some streams have no end: what has come by then is looked at."""
        return 1.0 if self.row.path.endswith("/stream") else 30.0


def _clear() -> None:
    """What an earlier round left would be in the way: a machine of the same name, and a job that was given back."""
    from trainshed.server.queue import ledger
    from trainshed.server.records.models import Host, Job

    Host.objects.filter(name="machine").delete()
    for job_id in Job.objects.filter(state="queued").values_list("id", flat=True):
        ledger.cancel(job_id, actor="test")


@pytest.fixture
def asker(request: pytest.FixtureRequest, nobody: Caller) -> Iterator[Asker]:
    with requests.Session() as session:
        yield Asker(request.param, session)


_names = [f"{row.method} {row.path}" for row in TABLE]


@pytest.mark.parametrize("asker", TABLE, ids=_names, indirect=True)
def test_whatever_is_asked_the_answer_is_one_that_is_documented(asker, site):
    row = asker.row
    operation = _operations()[f"{row.method} {row.path}"]
    print(f"ARGS={NUM_EXAMPLES}:{SEED}")

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=int(NUM_EXAMPLES),
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )
    @hypothesis.given(
        case=st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode]),
        who=st.sampled_from(["owner", "owner", "owner of nothing", "nobody"]),
    )
    def ask(case: Case, who: str) -> None:
        answer = asker.ask(case, site, who)
        # No model server runs in these tests.
        assert answer.status_code < 500 or answer.status_code == row.success == 503, answer.text
        case.validate_response(answer, checks=CHECKS)

    ask()
