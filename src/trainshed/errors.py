"""Every error that Trainshed raises on purpose.

    TrainshedError                 500  internal_error
    ├── InvalidInput               422  invalid_input
    │   ├── PictureRefused         422  picture_refused
    │   ├── ArchiveRefused         422  archive_refused
    │   ├── DatasetUnfit           422  dataset_unfit
    │   └── WeightsUnavailable     422  weights_unavailable
    ├── NotSignedIn                401  not_signed_in
    │   └── SecondFactorNeeded     401  second_factor_needed
    ├── Forbidden                  403  forbidden
    ├── NotFound                   404  not_found
    ├── MethodNotAllowed           405  method_not_allowed
    ├── Conflict                   409  conflict
    │   ├── AttemptSuperseded      409  attempt_superseded
    │   ├── IdempotencyMismatch    409  idempotency_mismatch
    │   └── StateConflict          409  state_conflict
    ├── TooLarge                   413  too_large
    ├── TooManyRequests            429  too_many_requests
    ├── Unavailable                503  unavailable
    │   └── ServerUnreachable      503  server_unreachable
    ├── StorageFull                507  storage_full
    │   └── QuotaExceeded          507  quota_exceeded
    ├── StartRefused               500  start_refused
    ├── JobStopped                 500  job_stopped      (raised inside a runner; never crosses a door)
    └── TrainingDiverged           500  training_diverged

A class's docstring is its default message. At every door an error becomes one RFC 9457 problem document
(`to_problem`), and a client turns that document back into the same class (`from_problem`).
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class TrainshedError(Exception):
    """Something went wrong inside Trainshed."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    default_hint: ClassVar[str] = ""
    retry_after_seconds: int = 1
    """When to try again, where the status says that this helps."""

    def __init__(self, message: str = "", *, hint: str = "", details: list[dict[str, Any]] | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "").splitlines()[0]
        self.hint = hint or self.default_hint
        self.details = details or []
        super().__init__(self.message)

    def to_problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 `application/problem+json` document."""
        return {
            "type": f"urn:trainshed:error:{self.code}",
            "title": inspect.cleandoc(type(self).__doc__ or "").splitlines()[0],
            "status": self.status,
            "detail": self.message,
            "code": self.code,
            "hint": self.hint,
            "errors": self.details,
        }


class InvalidInput(TrainshedError):
    """The request holds a value that cannot be used."""

    code = "invalid_input"
    status = 422


class PictureRefused(InvalidInput):
    """The file is not a picture that can be used."""

    code = "picture_refused"


class ArchiveRefused(InvalidInput):
    """The archive cannot be used."""

    code = "archive_refused"


class DatasetUnfit(InvalidInput):
    """The dataset cannot be used for this."""

    code = "dataset_unfit"


class WeightsUnavailable(InvalidInput):
    """The pretrained weights cannot be reached from this machine."""

    code = "weights_unavailable"


class NotSignedIn(TrainshedError):
    """Sign in first."""

    code = "not_signed_in"
    status = 401
    default_hint = "Run `trainshed login`, or send `Authorization: Bearer <token>`."


class SecondFactorNeeded(NotSignedIn):
    """Your account asks for a second factor."""

    code = "second_factor_needed"
    default_hint = "Send the code that your authenticator app shows, or a recovery code, as `code`."


class Forbidden(TrainshedError):
    """Your role does not allow this."""

    code = "forbidden"
    status = 403


class NotFound(TrainshedError):
    """There is nothing here that you can see."""

    code = "not_found"
    status = 404


class MethodNotAllowed(TrainshedError):
    """This address does not answer this method."""

    code = "method_not_allowed"
    status = 405


class Conflict(TrainshedError):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409


class AttemptSuperseded(Conflict):
    """This attempt no longer holds its job; a newer one does, or the job has ended."""

    code = "attempt_superseded"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency_mismatch"
    default_hint = "Use a new key for a new request."


class StateConflict(Conflict):
    """The job's state does not allow this."""

    code = "state_conflict"


class TooLarge(TrainshedError):
    """The request is larger than allowed."""

    code = "too_large"
    status = 413


class TooManyRequests(TrainshedError):
    """Too many requests; wait a little."""

    code = "too_many_requests"
    status = 429

    def __init__(self, message: str = "", *, retry_after_seconds: int = 1, **named: Any) -> None:
        super().__init__(message, **named)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(TrainshedError):
    """The service cannot answer right now; try again shortly."""

    code = "unavailable"
    status = 503


class ServerUnreachable(Unavailable):
    """The Trainshed server does not answer."""

    code = "server_unreachable"
    default_hint = "Is it running? `trainshed up` starts it."


class StorageFull(TrainshedError):
    """The disk is full."""

    code = "storage_full"
    status = 507


class QuotaExceeded(StorageFull):
    """The workspace's quota does not allow more."""

    code = "quota_exceeded"


class StartRefused(TrainshedError):
    """Trainshed cannot start."""

    code = "start_refused"


class JobStopped(TrainshedError):
    """The job was asked to stop."""

    code = "job_stopped"


class TrainingDiverged(TrainshedError):
    """The loss became infinite or not a number."""

    code = "training_diverged"
    default_hint = "Lower the learning rate, or switch mixed precision off."


def _tree(root: type[TrainshedError]) -> list[type[TrainshedError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_CODE: dict[str, type[TrainshedError]] = {kind.code: kind for kind in _tree(TrainshedError)}


def from_problem(problem: dict[str, Any]) -> TrainshedError:
    """Rebuild the error that a problem document tells of; an unknown code becomes `TrainshedError`."""
    kind = BY_CODE.get(str(problem.get("code", "")), TrainshedError)
    message = str(problem.get("detail") or problem.get("title") or "")
    return kind(message, hint=str(problem.get("hint") or ""), details=list(problem.get("errors") or []))
