"""Hosts and their GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainshed.cli import output
from trainshed.cli.output import Json

if TYPE_CHECKING:
    from trainshed.schemas import GpuReading, HostView

STALE_SECONDS = 30.0


def gpus(as_json: Json = False) -> None:
    """Every host with its GPUs and CPU slots, and what runs on them.

    `-` means that the card does not tell it. A host that has been silent for half a minute is stale.

    \b
    Examples:
      trainshed gpus
      trainshed gpus --json
    """
    with output.connect() as client:
        hosts = list(client.hosts.list())
    if as_json:
        output.emit(hosts)
        return
    headings = ("HOST", "SLOT", "STATE", "CARD", "MEMORY", "BUSY", "TEMP", "POWER", "JOB")
    output.table(headings, [row for host in hosts for row in rows_of(host)], "No host has reported yet.")
    for host in hosts:
        if host.reading and host.reading.gpu_state not in ("ok", "none"):
            output.say(f"{host.name}: {host.reading.gpu_state_words}")


def rows_of(host: HostView) -> list[tuple[object, ...]]:
    """One row per card, and one for all CPU slots."""
    cards = {gpu.index: gpu for gpu in host.reading.gpus} if host.reading else {}
    slots = {slot["position"]: slot for slot in host.slots if slot.get("pool") == "gpu"}
    rows = [
        (
            host.name,
            f"gpu {index}",
            _state(host, cards.get(index), slots.get(index)),
            *_card(cards.get(index)),
            _job(slots.get(index)),
        )
        for index in sorted(cards.keys() | slots.keys())
    ]
    return [*rows, _cpu_row(host)]


def _state(host: HostView, card: GpuReading | None, slot: dict[str, object] | None) -> str:
    if card is None or card.fault:
        return _silence(host) or (f"faulty: {card.fault}" if card else "gone")
    return _silence(host) or ("busy" if slot and slot.get("is_busy") else "free")


def _silence(host: HostView) -> str:
    """Words for a host whose state is not known; empty for one that has just reported."""
    if host.age_seconds is None:
        return "never heard of"
    return f"stale ({output.duration(host.age_seconds)})" if host.age_seconds > STALE_SECONDS else ""


def _card(card: GpuReading | None) -> tuple[str, ...]:
    if card is None:
        return ("-",) * 5
    memory = f"{output.size(card.memory_used_bytes)} of {output.size(card.memory_total_bytes)}"
    return (
        card.name or "-",
        memory if card.memory_total_bytes else "-",
        _unit(card.utilization_percent, "%"),
        _unit(card.temperature_celsius, "°C"),
        _unit(card.power_watts, "W"),
    )


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _job(slot: dict[str, object] | None) -> str:
    return str((slot or {}).get("job_title") or "-")


def _cpu_row(host: HostView) -> tuple[object, ...]:
    slots = [slot for slot in host.slots if slot.get("pool") == "cpu"]
    num_busy = sum(bool(slot.get("is_busy")) for slot in slots)
    titles = ", ".join(str(slot["job_title"]) for slot in slots if slot.get("job_title"))
    state = _silence(host) or f"{num_busy} of {len(slots)} busy"
    reading = host.reading
    if reading is None:
        return (host.name, "cpu", state, "-", "-", "-", "-", "-", titles or "-")
    memory = f"{output.size(reading.memory_used_bytes)} of {output.size(reading.memory_total_bytes)}"
    busy = _unit(reading.cpu_percent, "%")
    return (host.name, "cpu", state, f"{reading.cpu_count} cores", memory, busy, "-", "-", titles or "-")
