"""Requests to one Trainshed server: the token, retries, and problem documents turned back into our errors.

What the requests mean is deliberately elsewhere (`client/<noun>.py`, `client/attempts.py`).
"""

from __future__ import annotations

import ipaddress
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

import trainshed
from trainshed.errors import (
    BY_CODE,
    InvalidInput,
    ServerUnreachable,
    TooManyRequests,
    TrainshedError,
    Unavailable,
    from_problem,
)

API = "/api/v1"
DEFAULT_RETRIES = 4
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 60.0
_REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})

# A body is bytes, or something that begins the same bytes afresh each time it is iterated.
Body = bytes | Iterable[bytes]


class Transport:
    """One server and one token. Safe to share between threads; close it, or use it as a context manager.

    `timeout` is in seconds, for connecting and for each silence while reading or writing.
    """

    def __init__(
        self, url: str, token: str = "", timeout: float = 30.0, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self.url = normal_url(url)
        self.token = token
        self.timeout = timeout
        self.sleep = sleep
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: Body | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        retries: int | None = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        """Send one request to `/api/v1` + `path` and return the answer, read whole.

        A refused connection, a broken one, a 429 or a 503 is tried again up to `retries` times, by default 4 where
        that changes nothing twice: GET, HEAD, PUT, DELETE, OPTIONS, or an `Idempotency-Key` among `headers`;
        else not at all. `params` that are `None` are left out.

        Raises the server's own error (`errors.from_problem`), `ServerUnreachable` when nothing answers.
        """
        send = _Sending(method, path, json, content, dict(headers or {}), _present(params), timeout)
        left = retries if retries is not None else DEFAULT_RETRIES * send.is_repeatable
        for failures in range(left + 1):
            try:
                with self._opened(send) as response:
                    response.read()
                    return response
            except (Unavailable, TooManyRequests) as error:
                if failures == left:
                    raise
                self.sleep(_pause_seconds(failures, error))
        raise AssertionError("unreachable: the last try returns or raises")

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: Body | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Send one request, never twice, and give the answer while its body is still to be read.

        Errors while the caller reads the body inside the block become `ServerUnreachable` too.
        """
        send = _Sending(method, path, json, content, dict(headers or {}), _present(params), timeout)
        with self._opened(send) as response:
            yield response

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _opened(self, send: _Sending) -> Iterator[httpx.Response]:
        try:
            with self._connections().stream(
                send.method,
                self.url + API + send.path,
                json=send.json,
                content=send.content,
                headers=self._headers() | send.headers,
                params=send.params or None,
                timeout=self._timeout(send.timeout),
            ) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                yield response
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInput(f"{self.url!r} is not a server's address: {error}") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise ServerUnreachable(f"{self.url} does not answer: {_words_of(error)}.") from error

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _timeout(self, seconds: float | None) -> httpx.Timeout:
        seconds = self.timeout if seconds is None else seconds
        return httpx.Timeout(seconds, connect=min(seconds, 10.0))

    def _connections(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                agent = f"trainshed/{trainshed.__version__}"
                self._http = httpx.Client(
                    headers={"Accept": "application/json", "User-Agent": agent},
                    limits=httpx.Limits(max_keepalive_connections=20, keepalive_expiry=4.0),
                    # To this machine no proxy leads; and without TLS there is no need to load the
                    # authorities, which takes as long as several requests.
                    trust_env=not _is_loopback(self.url),
                    verify=not (_is_loopback(self.url) and self.url.startswith("http://")),
                )
            return self._http


class _Sending:
    """The parts of one request, from which each try is made afresh."""

    def __init__(
        self,
        method: str,
        path: str,
        json: Any,
        content: Body | None,
        headers: dict[str, str],
        params: dict[str, Any],
        timeout: float | None,
    ) -> None:
        self.method = method.upper()
        self.path = path if path.startswith("/") else "/" + path
        self.json = json
        self.content = content
        self.headers = headers
        self.params = params
        self.timeout = timeout

    @property
    def is_repeatable(self) -> bool:
        has_key = any(name.lower() == "idempotency-key" for name in self.headers)
        return self.method in _REPEATABLE_METHODS or has_key


def normal_url(url: str) -> str:
    """`url` with a scheme and without a trailing slash; a bare `host:port` gets `http://`."""
    url = url.strip()
    url = (url if "://" in url else f"http://{url}").rstrip("/").removesuffix(API)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"{url!r} is not a server's address.",
            hint="Give it like http://127.0.0.1:8765 or https://train.example.org",
        )
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path}"


def error_of(response: httpx.Response) -> TrainshedError:
    """The error that a failed answer tells of, whoever wrote it: Trainshed, or a proxy in front of it."""
    error = _told_error(response) or _untold_error(response)
    seconds = _retry_after_seconds(response)
    if seconds is not None:
        error.details.append({"retry_after_seconds": seconds})
    return error


def _told_error(response: httpx.Response) -> TrainshedError | None:
    try:
        problem = response.json()
    except ValueError:
        return None
    if not isinstance(problem, dict) or problem.get("code") not in BY_CODE:
        return None
    errors = problem.get("errors")
    details = [detail for detail in errors if isinstance(detail, dict)] if isinstance(errors, list) else []
    return from_problem(problem | {"errors": details})


def _untold_error(response: httpx.Response) -> TrainshedError:
    """No problem document of ours: the status alone says what happened."""
    status = 503 if response.status_code in (502, 504) else response.status_code
    kind = next((kind for kind in BY_CODE.values() if kind.status == status), TrainshedError)
    moved = f" to {response.headers['location']}" if "location" in response.headers else ""
    return kind(
        f"{response.request.method} {response.request.url.copy_with(query=None)} was answered with "
        f"{response.status_code} {response.reason_phrase}{moved}, and not by Trainshed.",
        hint="Is this the address of a Trainshed server, with its port and scheme?",
    )


def _retry_after_seconds(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds (its date form is not used by our server, and ignored)."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _pause_seconds(failures: int, error: TrainshedError) -> float:
    """What the server asked for, else twice as long each time; spread, so that clients keep out of step."""
    for detail in error.details:
        if "retry_after_seconds" in detail:
            asked = float(min(detail["retry_after_seconds"], LONGEST_PAUSE_SECONDS))
            return asked * random.uniform(1.0, 1.25)
    longest = min(FIRST_PAUSE_SECONDS * 2.0**failures, LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)


def _present(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _words_of(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    if isinstance(error, httpx.ConnectError):
        return "no connection" + (f" ({error})" if str(error) else "")
    return str(error).rstrip(".") or type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
