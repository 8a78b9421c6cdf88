"""Hosts: their keys, their readings, and the slots that come from them."""

from __future__ import annotations

import socket
import time
from typing import Any

from django.db import transaction

from trainshed.errors import Forbidden, InvalidInput
from trainshed.schemas import HostReading, HostView, Page, settings
from trainshed.server.queue import wake
from trainshed.server.records.models import Attempt, Host, Slot
from trainshed.server.services import pages
from trainshed.server.services.actors import Actor, hash_secret, new_secret

_MOST_PROCESSORS = 4096


def enrol_this_machine() -> str:
    """The row of the machine that the server runs on, and a fresh key for its agent."""
    key = new_secret("host")
    Host.objects.update_or_create(name=socket.gethostname()[:255], defaults={"key_sha256": hash_secret(key)})
    return key


def visible(actor: Actor, *, cursor: str | None, limit: int) -> Page[HostView]:
    """Hosts belong to the installation: whoever is signed in sees them."""
    if actor.kind != "person":
        raise Forbidden("Only a person can do this.")
    return pages.newest_first(Host.objects.all(), cursor, limit, lambda host: _view(host, actor))


def gpus(actor: Actor) -> dict[str, int]:
    """How many cards the installation has, and how many of them nobody holds: `{"free": 3, "all": 8}`."""
    if actor.kind != "person":
        raise Forbidden("Only a person can do this.")
    cards = Slot.objects.filter(pool="gpu")
    return {"free": cards.filter(attempt_id=None).count(), "all": cards.count()}


@transaction.atomic
def report(actor: Actor, reading: HostReading) -> None:
    """Keep a host's reading and make its slots fit it. Raises `Forbidden` for anybody but the host itself."""
    if actor.kind != "host":
        raise Forbidden("Only a host's agent can do this.")
    _check(reading)
    host = Host.objects.select_for_update().get(id=actor.id)
    host.reading, host.read_at = reading.model_dump(), time.time()
    host.save(update_fields=["reading", "read_at"])
    num_cpu = settings.whole("TRAINSHED_CPU_SLOTS") or max(2, reading.cpu_count // 2)
    changed = _fit(host, "cpu", list(range(num_cpu)))
    changed |= _fit(host, "gpu", [gpu.index for gpu in reading.gpus if gpu.fault is None])
    if changed:
        wake.after_commit("", "")


def _check(reading: HostReading) -> None:
    """A row is made for each slot, so the numbers must be those of a machine."""
    indices = [gpu.index for gpu in reading.gpus]
    are_indices = len(set(indices)) == len(indices) and all(0 <= index < _MOST_PROCESSORS for index in indices)
    if not (1 <= reading.cpu_count <= _MOST_PROCESSORS and are_indices):
        raise InvalidInput(
            f"The reading has {reading.cpu_count} processors and the cards {indices[:20]}; it must have 1 to "
            f"{_MOST_PROCESSORS} processors, and each card once with an index from 0."
        )


def _fit(host: Host, pool: str, positions: list[int]) -> bool:
    """Add slots that are missing, remove free ones that are no more; a held slot goes when it is free."""
    have = set(Slot.objects.filter(host=host, pool=pool).values_list("position", flat=True))
    missing = [Slot(host=host, pool=pool, position=position) for position in positions if position not in have]
    Slot.objects.bulk_create(missing)
    surplus = have - set(positions)
    if surplus:
        Slot.objects.filter(host=host, pool=pool, position__in=surplus, attempt_id=None).delete()
    return bool(missing)


def _view(host: Host, actor: Actor) -> HostView:
    return HostView(
        id=host.id,
        name=host.name,
        age_seconds=time.time() - host.read_at if host.read_at else None,
        reading=HostReading.model_validate(host.reading) if host.reading else None,
        slots=_slots(host, actor),
    )


def _slots(host: Host, actor: Actor) -> list[dict[str, Any]]:
    """Who holds each slot; a job of a workspace that the actor cannot see is told as busy and nothing more."""
    slots = list(host.slots.order_by("pool", "position"))
    holders = Attempt.objects.select_related("job").in_bulk([slot.attempt_id for slot in slots if slot.attempt_id])
    shown = []
    for slot in slots:
        attempt = holders.get(slot.attempt_id) if slot.attempt_id else None
        known = attempt is not None and actor.may(attempt.job.workspace_id, "read")
        shown.append(
            {
                "pool": slot.pool,
                "position": slot.position,
                "is_busy": slot.attempt_id is not None,
                "job_id": attempt.job_id if attempt and known else None,
                "job_title": attempt.job.title if attempt and known else None,
            }
        )
    return shown
