"""Hosts and GPUs as their agent last read them. Unknown is `None`, never 0."""

from typing import Any, Literal

from pydantic import Field

from trainshed.schemas.frozen import Received


class GpuReading(Received):
    """One card. `fault` holds words when the card cannot be read."""

    index: int
    name: str | None = None
    uuid: str | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    fault: str | None = None


class HostReading(Received):
    """One machine at one moment."""

    schema_version: Literal[1] = 1
    hostname: str
    cpu_count: int
    cpu_percent: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_free_bytes: int | None = None
    driver: str | None = None
    gpu_state: Literal["ok", "none", "no_driver", "mismatch", "forbidden", "fault"] = "none"
    gpu_state_words: str = ""
    gpus: list[GpuReading] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)


class HostView(Received):
    """A host as the API tells it, with its slots and the jobs in them."""

    id: str
    name: str
    age_seconds: float | None = Field(description="Since the last reading; `None`: never heard of.")
    reading: HostReading | None = None
    slots: list[dict[str, Any]] = Field(default_factory=list)
