"""Quotas in the units that people think in: GiB, jobs, GPU-hours; and the form that sets their limits."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from trainshed.errors import InvalidInput
from trainshed.schemas.quotas import QuotaView
from trainshed.server.services import quotas
from trainshed.server.web.door import Frame
from trainshed.server.web.templatetags.trainshed import size

# Resource -> (what it is called, the unit of its limit, how much of the counter that unit is).
_UNITS: dict[str, tuple[Any, Any, int]] = {
    "stored_bytes": (gettext_lazy("Storage"), gettext_lazy("GiB"), 2**30),
    "running_jobs": (gettext_lazy("Jobs that run at once"), gettext_lazy("jobs"), 1),
    "queued_jobs": (gettext_lazy("Jobs that wait"), gettext_lazy("jobs"), 1),
    "gpu_seconds": (gettext_lazy("GPU time this month"), gettext_lazy("GPU-hours"), 3600),
}
_WHEN_FULL = {
    "stored_bytes": gettext_lazy("Nothing more can be brought in or trained until there is room: ask for more of it."),
    "running_jobs": gettext_lazy("Further jobs wait until one of these has ended."),
    "queued_jobs": gettext_lazy("No further job is taken until one of these has begun or was cancelled."),
    "gpu_seconds": gettext_lazy("Jobs that want a GPU wait for next month, or for a higher limit."),
}
_NEARLY = 0.8


def bar(quota: QuotaView) -> dict[str, Any]:
    """One resource as a page shows it."""
    label, unit, per_unit = _UNITS[quota.resource]
    share = None if quota.most is None else min(1.0, quota.used / max(1, quota.most))
    is_full = quota.most is not None and quota.used >= quota.most
    return {
        "resource": quota.resource,
        "label": label,
        "unit": unit,
        "used": _told(quota.resource, quota.used),
        "most": None if quota.most is None else _told(quota.resource, quota.most),
        "limit": "" if quota.most is None else f"{quota.most / per_unit:.6g}",
        "share": None if share is None else f"{share:.3f}",
        "is_full": is_full,
        "is_nearly_full": share is not None and share >= _NEARLY,
        "when_full": _WHEN_FULL[quota.resource],
    }


def _told(resource: str, amount: int) -> str:
    if resource == "stored_bytes":
        return size(amount)
    return f"{amount / 3600:.1f} h" if resource == "gpu_seconds" else str(amount)


def set_limits(frame: Frame, workspace_id: str) -> None:
    """Set the limits of a form with a field for each resource; an empty one is no limit. What is as it was stays."""
    asked = {name: _limit(name, frame.request.POST[name]) for name in _UNITS if name in frame.request.POST}
    for quota in quotas.visible(frame.actor, workspace_id):
        if quota.resource in asked and bar(quota)["limit"] != frame.request.POST[quota.resource].strip():
            quotas.limit(frame.actor, workspace_id, quota.resource, asked[quota.resource])


def _limit(resource: str, written: str) -> int | None:
    label, _unit, per_unit = _UNITS[resource]
    try:
        amount = float(written) if written.strip() else None
        return None if amount is None else round(amount * per_unit)
    except (ValueError, OverflowError):
        raise InvalidInput(
            _("%(label)s: %(written)r is no number.") % {"label": label, "written": written[:40]}
        ) from None
