"""The transport: what is tried again, how long it waits, and what every failure becomes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from trainshed.client.transport import Transport, normal_url
from trainshed.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    NotSignedIn,
    ServerUnreachable,
    StateConflict,
    TrainshedError,
    Unavailable,
)
from trainshed.testing.fake_server import PROJECT, WORKSPACE, FakeServer, Fault

OWN = f"/workspaces/{WORKSPACE}/projects/{PROJECT}"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def transport(server: FakeServer, pauses: list[float]) -> Iterator[Transport]:
    with Transport(server.url, server.token, timeout=10, sleep=pauses.append) as opened:
        yield opened


class Body:
    """Three chunks, from the first each time."""

    def __init__(self) -> None:
        self.num_readings = 0

    def __iter__(self) -> Iterator[bytes]:
        self.num_readings += 1
        yield from (b"one ", b"two ", b"three")


def test_a_get_is_tried_again_after_503_with_growing_pauses(
    server: FakeServer, transport: Transport, pauses: list[float]
) -> None:
    server.faults = [Fault(503), Fault(503), Fault(503)]

    assert transport.request("GET", "/health").json()["status"] == "ok"
    assert len(server.asked) == 4
    assert 0.125 <= pauses[0] <= 0.25 <= pauses[1] <= 0.5 <= pauses[2] <= 1.0


def test_retry_after_is_honoured_and_never_shortened(
    server: FakeServer, transport: Transport, pauses: list[float]
) -> None:
    server.faults = [Fault(503, {"Retry-After": "7"})]

    transport.request("GET", "/health")
    assert 7.0 <= pauses[0] <= 7.0 * 1.25


def test_whoever_asked_too_often_waits_as_long_as_told(
    server: FakeServer, transport: Transport, pauses: list[float]
) -> None:
    server.faults = [Fault(429, {"Retry-After": "3"})]

    assert transport.request("GET", "/health").status_code == 200
    assert 3.0 <= pauses[0] <= 3.0 * 1.25


def test_a_retry_after_of_hours_is_cut_to_a_minute(
    server: FakeServer, transport: Transport, pauses: list[float]
) -> None:
    server.faults = [Fault(503, {"Retry-After": "86400"})]

    transport.request("GET", "/health")
    assert pauses[0] <= 75.0


def test_a_broken_connection_is_tried_again(server: FakeServer, transport: Transport) -> None:
    server.faults = [Fault(), Fault()]

    assert transport.request("GET", "/health").status_code == 200


def test_after_the_last_retry_the_error_comes_back(
    server: FakeServer, transport: Transport, pauses: list[float]
) -> None:
    server.faults = [Fault(503)] * 10

    with pytest.raises(Unavailable):
        transport.request("GET", "/health", retries=2)
    assert len(server.asked) == 3
    assert len(pauses) == 2


def test_a_post_without_a_key_is_sent_once(server: FakeServer, transport: Transport) -> None:
    server.faults = [Fault(after_work=True)]

    with pytest.raises(ServerUnreachable):
        transport.request("POST", f"{OWN}/datasets", json={"name": "flowers", "task": "classification"})
    assert len(server.asked) == 1
    assert len(server.datasets) == 1


def test_a_post_with_a_key_is_tried_again_with_the_same_key_and_the_whole_body(
    server: FakeServer, transport: Transport
) -> None:
    body = Body()
    server.faults = [Fault(503), Fault()]

    transport.request(
        "POST",
        f"{OWN}/uploads",
        content=body,
        params={"name": "a.zip"},
        headers={"Content-Length": "13", "idempotency-key": "k1"},
    )

    assert body.num_readings == 3
    assert [asked.body for asked in server.asked] == [b"one two three"] * 3
    assert {asked.headers["idempotency-key"] for asked in server.asked} == {"k1"}
    assert "transfer-encoding" not in server.asked[0].headers


def test_a_problem_document_becomes_the_error_it_names(server: FakeServer, transport: Transport) -> None:
    problem = StateConflict("The job is done.", hint="Look at it.", details=[{"state": "succeeded"}])
    server.faults = [Fault(409, body=json.dumps(problem.to_problem()).encode())]

    with pytest.raises(StateConflict, match="The job is done") as caught:
        transport.request("POST", "/anything")
    assert caught.value.hint == "Look at it."
    assert caught.value.details == [{"state": "succeeded"}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, NotSignedIn),
        (403, Forbidden),
        (404, NotFound),
        (502, Unavailable),
        (504, Unavailable),
        (418, TrainshedError),
    ],
)
def test_a_strangers_error_page_becomes_an_error_by_its_status(
    server: FakeServer, transport: Transport, status: int, kind: type[TrainshedError]
) -> None:
    server.faults = [Fault(status, body=b"<h1>nginx</h1>")]

    with pytest.raises(kind, match=f"answered with {status} .*not by Trainshed") as caught:
        transport.request("GET", "/me", params={"secret": "x"}, retries=0)
    assert type(caught.value) is kind
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "body", [b"[]", b'{"detail": "no code"}', b'{"code": "internal_error", "errors": "odd"}', b"\xff"]
)
def test_an_odd_error_body_is_still_an_error(server: FakeServer, transport: Transport, body: bytes) -> None:
    server.faults = [Fault(500, body=body)]

    with pytest.raises(TrainshedError):
        transport.request("GET", "/me")


def test_a_redirect_is_told_with_its_goal_and_not_followed(server: FakeServer, transport: Transport) -> None:
    server.faults = [Fault(301, {"Location": "https://elsewhere.example/"})]

    with pytest.raises(TrainshedError, match=r"301 .* to https://elsewhere\.example/"):
        transport.request("GET", "/me")
    assert len(server.asked) == 1


def test_nobody_listening_is_server_unreachable_with_what_to_do(pauses: list[float]) -> None:
    with (
        Transport("http://127.0.0.1:9", sleep=pauses.append) as transport,
        pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:9 does not answer: no connection") as caught,
    ):
        transport.request("GET", "/me")
    assert "trainshed up" in caught.value.hint
    assert len(pauses) == 4


def test_a_silent_server_is_no_answer_in_time(server: FakeServer) -> None:
    server.holds_trainings = True
    with (
        Transport(server.url, server.token, timeout=0.2) as transport,
        pytest.raises(ServerUnreachable, match="in time"),
    ):
        _open_endless_stream(server, transport)


def _open_endless_stream(server: FakeServer, transport: Transport) -> None:
    dataset = transport.request("POST", f"{OWN}/datasets", json={"name": "d", "task": "classification"}).json()
    job_id = _queued_job(server, transport, dataset["id"])
    with transport.stream("GET", f"{OWN}/jobs/{job_id}/stream") as response:
        for _ in response.iter_bytes():
            pass


def _queued_job(server: FakeServer, transport: Transport, dataset_id: str) -> str:
    answer = transport.request("POST", f"{OWN}/datasets/{dataset_id}/versions", json={"split": {}})
    job_id = str(answer.json()["id"])
    server.jobs[job_id] = server.jobs[job_id].model_copy(update={"state": "running"})
    return job_id


def test_a_body_that_breaks_off_is_server_unreachable(server: FakeServer, transport: Transport) -> None:
    server.faults = [Fault(200, {"Content-Length": "100"}, body=b"only the beginning")]

    with pytest.raises(ServerUnreachable), transport.stream("GET", "/health") as response:
        for _ in response.iter_bytes():
            pass


def test_the_token_and_the_present_params_are_sent(server: FakeServer, transport: Transport) -> None:
    transport.request("GET", "/me", params={"limit": 5, "cursor": None})

    [asked] = server.asked
    assert asked.headers["authorization"] == f"Bearer {server.token}"
    assert asked.query == {"limit": "5"}


def test_no_proxy_stands_before_this_machine(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    with Transport(server.url) as transport:
        assert transport.request("GET", "/health", retries=0).status_code == 200


def test_many_threads_share_one_transport(server: FakeServer, transport: Transport) -> None:
    answers: list[int] = []

    def ask() -> None:
        for _ in range(10):
            answers.append(transport.request("GET", "/me").status_code)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 80


def test_a_closed_transport_opens_again(transport: Transport) -> None:
    transport.request("GET", "/health")
    transport.close()

    assert transport.request("GET", "/health").status_code == 200


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765"),
        (" Train.Example.org:8765 ", "http://train.example.org:8765"),
        ("https://example.org/trainshed/", "https://example.org/trainshed"),
        ("https://example.org/api/v1/", "https://example.org"),
        ("HTTP://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_address_has_one_normal_form(given: str, normal: str) -> None:
    assert normal_url(given) == normal


@pytest.mark.parametrize(
    "given", ["", "http://", "ftp://example.org", "http://host:port", "http://[::1", "http://h:99999"]
)
def test_what_is_no_address_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(InvalidInput, match="not a server's address") as caught:
        normal_url(given)
    assert "http://127.0.0.1:8765" in caught.value.hint
