"""How often: no more pass than may, however many ask at once; whoever waits as told gets through."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from server.api_client import API, Caller, Lab, make_person, ok, problem
from trainshed.errors import TooManyRequests

PASSWORD = "a long enough passphrase"
HERE, THERE = "192.0.2.1", "198.51.100.7"


def _limits() -> Any:
    from trainshed.server.services import limits

    return limits


def _limit(burst: int = 3, pause_seconds: float = 2.0) -> Any:
    return _limits().Limit("test", burst, pause_seconds, "tests")


def _set_clock(seconds: float) -> None:
    from trainshed.server.queue import dialect

    dialect.set_clock(seconds)


def _is_taken(take: Callable[[], object]) -> bool:
    try:
        take()
    except TooManyRequests:
        return False
    return True


def _at_once(times: int, take: Callable[[], object]) -> int:
    """How many of so many in parallel, each in a thread with a connection of its own, pass."""
    from django.db import connection

    def one(_: int) -> bool:
        try:
            return _is_taken(take)
        finally:
            connection.close()

    with ThreadPoolExecutor(times) as pool:
        return sum(pool.map(one, range(times)))


def _person(email: str = "ann@example.org") -> Any:
    person = make_person()
    person.email = email
    person.set_password(PASSWORD)
    person.save()
    return person


def _sign_in(
    nobody: Caller, password: str = PASSWORD, email: str = "ann@example.org", **headers: str
) -> httpx.Response:
    return nobody.post("/sign-in", {"email": email, "password": password}, headers=headers)


@pytest.fixture
def proxied(nobody: Caller, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """The callers of this test are behind a proxy that is trusted."""
    monkeypatch.setenv("TRAINSHED_TRUSTED_PROXIES", "127.0.0.1")
    return nobody


# The algorithm


def test_a_burst_passes_and_then_one_each_pause(database):
    limit = _limit(burst=3, pause_seconds=2.0)
    passed = []
    for seconds in range(10):
        _set_clock(1_000_000.0 + seconds)
        passed.append(sum(_is_taken(lambda: _limits().take(limit, "ann")) for _ in range(5)))
    assert passed == [3, 0, 1, 0, 1, 0, 1, 0, 1, 0]


def test_whoever_waits_as_long_as_told_gets_through_and_nobody_sooner(database):
    limit = _limit(burst=2, pause_seconds=7.0)
    _set_clock(1_000_000.25)
    for _ in range(2):
        _limits().take(limit, "ann")
    with pytest.raises(TooManyRequests, match="too many tests; wait 7 s") as refused:
        _limits().take(limit, "ann")
    assert refused.value.retry_after_seconds == 7
    _set_clock(1_000_000.25 + 6.5)
    with pytest.raises(TooManyRequests) as refused:
        _limits().take(limit, "ann")
    assert refused.value.retry_after_seconds == 1
    _set_clock(1_000_000.25 + 7)
    _limits().take(limit, "ann")


def test_of_thirty_at_once_no_more_pass_than_may(database):
    limit = _limit(burst=7, pause_seconds=3600.0)
    assert _at_once(30, lambda: _limits().take(limit, "ann")) == 7


def test_one_is_not_stopped_by_another(database):
    limit = _limit(burst=1)
    _limits().take(limit, "ann")
    _limits().take(limit, "bob")
    with pytest.raises(TooManyRequests):
        _limits().take(limit, "ann")


def test_what_is_given_back_counts_no_more_and_what_is_forgiven_neither(database):
    limit = _limit(burst=2, pause_seconds=3600.0)
    for _ in range(5):
        _limits().take(limit, "ann")
        _limits().give_back(limit, "ann")
    for _ in range(2):
        _limits().take(limit, "ann")
    assert not _is_taken(lambda: _limits().take(limit, "ann"))
    _limits().forgive(limit, "ann")
    assert _is_taken(lambda: _limits().take(limit, "ann"))


def test_a_clock_that_is_set_back_keeps_nobody_out(database):
    limit = _limit(burst=1, pause_seconds=10.0)
    _set_clock(1_000_000.0)
    _limits().take(limit, "ann")
    _set_clock(1_000_000.0 - 3600)
    _limits().take(limit, "ann")
    assert not _is_taken(lambda: _limits().take(limit, "ann"))


def test_rows_whose_time_has_come_are_forgotten_and_the_others_stay(database):
    from trainshed.server.records.models import RateLimit

    _set_clock(1_000_000.0)
    _limits().take(_limit(pause_seconds=2.0), "ann")
    _limits().take(_limit(pause_seconds=60.0), "bob")
    _set_clock(1_000_030.0)
    _limits().sweep()
    assert [row.due_at for row in RateLimit.objects.all()] == [1_000_060.0]


@pytest.mark.parametrize("who", ["x" * 10_000, "\0", "é\ud800", ""])
def test_anything_can_be_counted(database, who):
    limit = _limit(burst=1)
    _limits().take(limit, who)
    assert not _is_taken(lambda: _limits().take(limit, who))


# Signing in


def test_of_thirty_guesses_at_once_no_more_are_looked_at_than_may(nobody):
    _person()
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda number: _sign_in(nobody, f"wrong {number}"), range(30)))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [401] * _limits().GUESSES_HERE.burst + [429] * (30 - _limits().GUESSES_HERE.burst)
    refused = next(answer for answer in answers if answer.status_code == 429)
    problem(refused, 429, "too_many_requests", "wrong sign-ins as this person from your address; wait")
    assert 50 <= int(refused.headers["Retry-After"]) <= 60
    problem(_sign_in(nobody), 429, "too_many_requests")


def test_after_the_told_wait_the_right_password_opens(nobody):
    _person()
    _set_clock(1_000_000.0)
    for _ in range(_limits().GUESSES_HERE.burst):
        problem(_sign_in(nobody, "wrong"), 401, "not_signed_in")
    wait = int(_sign_in(nobody).headers["Retry-After"])
    _set_clock(1_000_000.0 + wait - 1)
    problem(_sign_in(nobody), 429, "too_many_requests")
    _set_clock(1_000_000.0 + wait)
    ok(_sign_in(nobody), 201)


def test_a_success_forgives_the_mistakes_before_it(nobody):
    _person()
    _set_clock(1_000_000.0)
    for _ in range(3):
        for _ in range(_limits().GUESSES_HERE.burst - 1):
            problem(_sign_in(nobody, "wrong"), 401, "not_signed_in")
        ok(_sign_in(nobody), 201)


def test_ones_own_right_password_buys_no_guesses_at_others(nobody):
    _person(), _person("eve@example.org")
    _set_clock(1_000_000.0)
    burst = _limits().GUESSES_FROM.burst
    for number in range(burst):
        _limits().take_guess("127.0.0.1", f"person{number}@example.org")
        if number % 25 == 0:
            ok(_sign_in(nobody, email="eve@example.org"), 201)
    problem(_sign_in(nobody), 429, "too_many_requests", "from your address")


def test_guesses_at_one_person_from_everywhere_are_counted_together(database):
    _set_clock(1_000_000.0)
    tried = [f"192.0.2.{number}" for number in range(200)]
    passed = sum(_is_taken(lambda here=here: _limits().take_guess(here, "Ann@example.org ")) for here in tried)
    assert passed == _limits().GUESSES_AT.burst


def test_one_who_is_stopped_uses_up_nothing_of_the_others(database):
    _set_clock(1_000_000.0)
    for _ in range(1000):
        _is_taken(lambda: _limits().take_guess(HERE, "ann@example.org"))
    _limits().take_guess(THERE, "ann@example.org")
    _limits().take_guess(HERE, "bob@example.org")


def test_all_addresses_of_one_ipv6_home_are_one(database):
    _set_clock(1_000_000.0)
    passed = [
        _is_taken(lambda here=here: _limits().take_guess(here, "ann@example.org"))
        for here in (f"2001:db8:1:2::{number:x}" for number in range(50))
    ]
    assert sum(passed) == _limits().GUESSES_HERE.burst
    _limits().take_guess("2001:db8:1:3::1", "ann@example.org")


# Where a request comes from


def test_a_header_of_ones_own_is_no_other_address(nobody):
    _person()
    for number in range(_limits().GUESSES_HERE.burst):
        problem(_sign_in(nobody, "wrong", **{"X-Forwarded-For": f"192.0.2.{number}"}), 401, "not_signed_in")
    problem(_sign_in(nobody, "wrong", **{"X-Forwarded-For": HERE}), 429, "too_many_requests")


def test_behind_a_trusted_proxy_one_address_is_not_stopped_by_another(proxied):
    _person()
    for _ in range(_limits().GUESSES_HERE.burst):
        problem(_sign_in(proxied, "wrong", **{"X-Forwarded-For": HERE}), 401, "not_signed_in")
    problem(_sign_in(proxied, **{"X-Forwarded-For": HERE}), 429, "too_many_requests")
    ok(_sign_in(proxied, **{"X-Forwarded-For": THERE}), 201)


def test_behind_a_trusted_proxy_too_only_what_the_proxy_wrote_counts(proxied):
    """A proxy writes behind what its client sent, in the same line or in one of its own."""
    _person()
    for number in range(_limits().GUESSES_HERE.burst):
        problem(_sign_in(proxied, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}, {HERE}"}), 401, "not_signed_in")
    problem(_sign_in(proxied, **{"X-Forwarded-For": f"203.0.113.99, {HERE}"}), 429, "too_many_requests")
    lines = [("X-Forwarded-For", THERE), ("X-Forwarded-For", HERE)]
    body = {"email": "ann@example.org", "password": PASSWORD}
    problem(proxied.http.post(f"{API}/sign-in", json=body, headers=lines), 429, "too_many_requests")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "found"),
    [
        ("", HERE, [], HERE),
        ("", HERE, [THERE], HERE),
        ("10.0.0.0/8", HERE, [THERE], HERE),
        ("10.0.0.0/8", "10.1.2.3", [THERE], THERE),
        ("10.0.0.0/8", "10.1.2.3", [f"6.6.6.6, {THERE}"], THERE),
        ("10.0.0.0/8", "10.1.2.3", ["6.6.6.6", THERE], THERE),
        ("10.0.0.0/8, 192.0.2.1", "10.1.2.3", [f"6.6.6.6, {THERE}, {HERE},10.9.9.9"], THERE),
        ("10.0.0.0/8", "10.1.2.3", [f"{THERE}, nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.0.0.0/8", "10.1.2.3", [f"{THERE}, "], "10.1.2.3"),
        ("10.0.0.0/8", "10.1.2.3", ["10.4.4.4, 10.5.5.5"], "10.4.4.4"),
        ("10.0.0.0/8", "10.1.2.3", [], "10.1.2.3"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", ["::ffff:198.51.100.7"], THERE),
        ("10.0.0.0/8", "10.1.2.3", [f"{THERE}:4711"], THERE),
        ("fd00::/8", "fd00::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("fd00::/8", "fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.0/8", "", [THERE], ""),
    ],
)
def test_the_address_is_the_last_that_no_trusted_proxy_has(monkeypatch, trusted, peer, forwarded, found):
    from trainshed.server.services import addresses

    monkeypatch.setenv("TRAINSHED_TRUSTED_PROXIES", trusted)
    assert addresses.true(peer, forwarded) == found


def test_proxies_that_are_no_addresses_refuse_the_start(monkeypatch):
    from trainshed.errors import StartRefused
    from trainshed.server.services import addresses

    monkeypatch.setenv("TRAINSHED_TRUSTED_PROXIES", "127.0.0.1, my-proxy")
    with pytest.raises(StartRefused, match="TRAINSHED_TRUSTED_PROXIES is '127.0.0.1, my-proxy'"):
        addresses.trusted_proxies()


# Tokens and jobs


def _wrong_token() -> str:
    from trainshed.server.services.actors import new_secret

    return new_secret("personal")


@pytest.mark.parametrize("path", ["/me", "/attempt/blobs/" + "0" * 64], ids=["Django", "Starlette"])
def test_wrong_tokens_of_one_address_are_stopped_and_good_ones_are_not(proxied, path):
    good = Lab().attempt("train")[1] if "attempt" in path else Lab().token()
    here, there = {"X-Forwarded-For": HERE}, {"X-Forwarded-For": THERE}
    _set_clock(1_000_000.0)
    for number in range(_limits().WRONG_TOKENS.burst):
        wrong = proxied.as_(_wrong_token() if number % 2 else "tsp_mistyped")
        problem(wrong.get(path, headers=here), 401, "not_signed_in")
    refused = proxied.as_(_wrong_token()).get(path, headers=here)
    problem(refused, 429, "too_many_requests", "wrong tokens from your address")
    assert refused.headers["Retry-After"] == "1"
    problem(proxied.as_(_wrong_token()).get(path, headers=there), 401, "not_signed_in")
    for headers in (here, there):
        assert proxied.as_(good).get(path, headers=headers).status_code in (200, 404)


def test_nobody_is_stopped_for_a_request_without_a_token(nobody):
    _set_clock(1_000_000.0)
    for _ in range(_limits().WRONG_TOKENS.burst + 5):
        problem(nobody.get("/me"), 401, "not_signed_in")


def test_submits_of_one_actor_are_stopped_and_say_how_long_to_wait(nobody, lab):
    caller, other = nobody.as_(lab.token("owner")), nobody.as_(lab.token("editor"))
    version_id = lab.version(lab.dataset()).id
    _set_clock(1_000_000.0)
    for _ in range(_limits().SUBMITS.burst):
        _limits().take(_limits().SUBMITS, f"person:{lab.person('owner').id}")
    refused = caller.post(f"{lab.path}/trainings", {"version_id": version_id})
    problem(refused, 429, "too_many_requests", "too many jobs; wait 1 s")
    assert refused.headers["Retry-After"] == "1"
    ok(other.post(f"{lab.path}/trainings", {"version_id": version_id}), 202)
    _set_clock(1_000_001.0)
    ok(caller.post(f"{lab.path}/trainings", {"version_id": version_id}), 202)


def test_imports_of_one_actor_are_stopped(owner, lab):
    path, upload_id = f"{lab.path}/datasets/{lab.dataset().id}/imports", lab.upload().id
    _set_clock(1_000_000.0)
    statuses = [owner.post(path, {"upload_id": upload_id}).status_code for _ in range(_limits().IMPORTS.burst + 1)]
    assert statuses == [202] * _limits().IMPORTS.burst + [429]


def test_what_is_refused_stays_counted_although_nothing_is_written(owner, lab):
    """A key that was used for something else makes the submit fail after it was counted."""
    from trainshed.server.records.models import RateLimit

    path, headers = f"{lab.path}/datasets/{lab.dataset().id}/imports", {"Idempotency-Key": "once"}
    ok(owner.post(path, {"upload_id": lab.upload().id}, headers=headers), 202)
    before = {row.key: row.due_at for row in RateLimit.objects.all()}
    _, other = lab.upload(), lab.upload(b"another")
    problem(owner.post(path, {"upload_id": other.id}, headers=headers), 409, "idempotency_mismatch")
    assert all(row.due_at > before[row.key] for row in RateLimit.objects.all()) and len(before) == 2


def test_an_actor_knows_where_the_request_came_from(nobody, lab):
    from starlette.requests import Request

    from trainshed.server.services import sessions

    bearer = (b"authorization", f"Bearer {lab.token()}".encode())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [bearer]})
    assert sessions.sender(request, {}, HERE).address == HERE
