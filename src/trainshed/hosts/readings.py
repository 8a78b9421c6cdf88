"""One reading of this machine: cores, memory, disk and every NVIDIA card.

Unknown is `None`, never 0. A lost card is a value with `fault`, not an exception: one broken card must not
hide the seven others. Processes on the cards are deliberately elsewhere.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import os
import platform
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import psutil

from trainshed.schemas import GpuReading, HostReading, settings

GpuState = Literal["ok", "none", "no_driver", "mismatch", "forbidden", "fault"]
Value = TypeVar("Value")

# NVML's return codes by name: what each means for the whole machine.
_STATES: dict[str, tuple[GpuState, str]] = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": ("no_driver", "No NVIDIA driver is installed on this machine."),
    "NVML_ERROR_DRIVER_NOT_LOADED": (
        "no_driver",
        "The NVIDIA driver is installed but not loaded. Load it with `sudo modprobe nvidia`, or reboot.",
    ),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "mismatch",
        "The NVIDIA driver was updated while it was loaded: its library and its module differ. Reboot.",
    ),
    "NVML_ERROR_NO_PERMISSION": (
        "forbidden",
        "This user may not talk to the NVIDIA driver. Give it access to /dev/nvidia* (often by the group "
        "`video`), or start the container with GPUs.",
    ),
}
# Codes that mean "this card does not tell this": the value is unknown and the card is well.
_SILENT = (
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_NOT_FOUND",
    "NVML_ERROR_NO_DATA",
)
_FAULTS = {
    "NVML_ERROR_GPU_IS_LOST": "The card has fallen off the bus. Reboot the machine; check power and seating.",
    "NVML_ERROR_RESET_REQUIRED": "The card must be reset before it works again.",
}
_primed_threads: set[int] = set()


def read(nvml: Any = None) -> HostReading:
    """Read this machine once.

    `nvml` is pynvml or anything with the same functions; without it pynvml is imported where it is
    installed. `cpu_percent` covers the time since this thread's previous reading, so the first has none.
    """
    memory = psutil.virtual_memory()
    disk = _disk_usage(settings.home())
    reading = HostReading(
        hostname=socket.gethostname(),
        cpu_count=_cpu_count(),
        cpu_percent=_cpu_percent(),
        memory_total_bytes=memory.total,
        memory_used_bytes=memory.total - memory.available,
        disk_total_bytes=disk and disk[0],
        disk_free_bytes=disk and disk[1],
        versions=_versions(),
    )
    return reading.model_copy(update=_read_cards(nvml or installed_nvml()))


@contextmanager
def driver_open(nvml: Any) -> Iterator[None]:
    """Keep the driver's library initialised inside the block; raises `nvml.NVMLError` when it will not start.

    NVML counts its users. A caller that reads often holds it open around all its readings, because without
    persistence mode the last one to leave switches the cards off, and the next one waits seconds for them.
    """
    nvml.nvmlInit()
    try:
        yield
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def installed_nvml() -> Any:
    """pynvml where it is installed, else `None`."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _read_cards(nvml: Any) -> dict[str, Any]:
    """The reading's fields that come from the driver."""
    if nvml is None:
        return {
            "gpu_state": "none",
            "gpu_state_words": "nvidia-ml-py is not installed: no card is looked for.",
        }
    try:
        with driver_open(nvml):
            driver = _told(nvml, lambda: _text(nvml.nvmlSystemGetDriverVersion()))
            gpus = [_read_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        state, words = _state_of(nvml, error)
        return {"gpu_state": state, "gpu_state_words": words}
    if not gpus:
        return {"driver": driver, "gpu_state": "none", "gpu_state_words": "The driver sees no card."}
    return {"driver": driver, "gpu_state": "ok", "gpus": gpus}


def _state_of(nvml: Any, error: Any) -> tuple[GpuState, str]:
    for name, meaning in _STATES.items():
        if error.value == getattr(nvml, name):
            return meaning
    return "fault", f"The NVIDIA driver answered: {error}."


def _read_card(nvml: Any, index: int) -> GpuReading:
    """One card; what it told before it failed is kept beside its `fault`."""
    fields: dict[str, Any] = {"index": index}
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        fields["name"] = _told(nvml, lambda: _text(nvml.nvmlDeviceGetName(handle)))
        fields["uuid"] = _told(nvml, lambda: _text(nvml.nvmlDeviceGetUUID(handle)))
        memory = _told(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        fields["memory_total_bytes"] = memory and int(memory.total)
        fields["memory_used_bytes"] = memory and int(memory.used)
        rates = _told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        fields["utilization_percent"] = rates and float(rates.gpu)
        fields["temperature_celsius"] = _told(
            nvml, lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        )
        milliwatts = _told(nvml, lambda: int(nvml.nvmlDeviceGetPowerUsage(handle)))
        fields["power_watts"] = None if milliwatts is None else milliwatts / 1000
    except nvml.NVMLError as error:
        fields["fault"] = _fault_of(nvml, error)
    return GpuReading(**fields)


def _fault_of(nvml: Any, error: Any) -> str:
    known = {getattr(nvml, name): words for name, words in _FAULTS.items()}
    return known.get(error.value, f"The driver answered: {error}.")


def _told(nvml: Any, ask: Callable[[], Value]) -> Value | None:
    """The answer, or `None` when this card does not tell it; any other error is the caller's."""
    try:
        return ask()
    except nvml.NVMLError as error:
        if error.value in {getattr(nvml, name, None) for name in _SILENT}:
            return None
        raise


def _text(value: str | bytes) -> str:
    """Older versions of nvidia-ml-py answer with bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _cpu_count() -> int:
    """Cores that this process may use: its affinity, and the container's quota where there is one."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min(cores, _quota_cores(Path("/sys/fs/cgroup/cpu.max")) or cores))


def _quota_cores(cpu_max: Path) -> int | None:
    """Cores from a cgroup v2 file `cpu.max`: `<microseconds or max> <period in microseconds>`."""
    try:
        quota, period = cpu_max.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _cpu_percent() -> float | None:
    """Busy share since this thread's last call; psutil's first answer in a thread is a meaningless 0."""
    percent = psutil.cpu_percent(interval=None)
    if threading.get_ident() in _primed_threads:
        return float(percent)
    _primed_threads.add(threading.get_ident())
    return None


def _disk_usage(folder: Path) -> tuple[int, int] | None:
    """Total and free bytes of the disk that holds `folder`, or will hold it."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            usage = shutil.disk_usage(place)
            return usage.total, usage.free
    return None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("trainshed", "torch", "nvidia-ml-py"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
