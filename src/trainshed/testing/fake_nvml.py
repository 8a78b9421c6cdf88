"""A second NVIDIA driver: the functions of pynvml that `hosts` uses, on cards that a test describes.

nvml = FakeNvml([FakeCard(), FakeCard(lost=True)])
hosts.read(nvml)
"""

from __future__ import annotations

from dataclasses import dataclass, field


class NVMLError(Exception):
    """What every function raises; `value` is NVML's return code."""

    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(_WORDS.get(value, f"NVML error {value}"))


# NVML's return codes, as nvml.h numbers them.
_CODES = {
    "NVML_ERROR_UNINITIALIZED": 1,
    "NVML_ERROR_INVALID_ARGUMENT": 2,
    "NVML_ERROR_NOT_SUPPORTED": 3,
    "NVML_ERROR_NO_PERMISSION": 4,
    "NVML_ERROR_NOT_FOUND": 6,
    "NVML_ERROR_DRIVER_NOT_LOADED": 9,
    "NVML_ERROR_LIBRARY_NOT_FOUND": 12,
    "NVML_ERROR_FUNCTION_NOT_FOUND": 13,
    "NVML_ERROR_GPU_IS_LOST": 15,
    "NVML_ERROR_RESET_REQUIRED": 16,
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": 18,
    "NVML_ERROR_NO_DATA": 21,
    "NVML_ERROR_UNKNOWN": 999,
}
_WORDS = {code: name.removeprefix("NVML_ERROR_").replace("_", " ").title() for name, code in _CODES.items()}


@dataclass
class FakeCard:
    """One card. `unsupported` names functions it does not answer; `failing` maps a function to its code."""

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    memory_total_bytes: int = 80 * 2**30
    memory_used_bytes: int = 2**30
    utilization_percent: int = 0
    temperature_celsius: int = 40
    power_milliwatts: int = 70_000
    lost: bool = False
    unsupported: set[str] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)

    def refusal_of(self, function: str) -> int | None:
        """The code with which this card answers `function`; `None`: it answers well."""
        if self.lost:
            return _CODES["NVML_ERROR_GPU_IS_LOST"]
        if function in self.unsupported:
            return _CODES["NVML_ERROR_NOT_SUPPORTED"]
        return self.failing.get(function)


@dataclass
class _Memory:
    total: int
    used: int
    free: int


@dataclass
class _Rates:
    gpu: int
    memory: int = 0


class FakeNvml:
    """Stands where the module `pynvml` stands. `init_error` names the code with which the driver refuses."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0
    NVML_ERROR_UNINITIALIZED = _CODES["NVML_ERROR_UNINITIALIZED"]
    NVML_ERROR_INVALID_ARGUMENT = _CODES["NVML_ERROR_INVALID_ARGUMENT"]
    NVML_ERROR_NOT_SUPPORTED = _CODES["NVML_ERROR_NOT_SUPPORTED"]
    NVML_ERROR_NO_PERMISSION = _CODES["NVML_ERROR_NO_PERMISSION"]
    NVML_ERROR_NOT_FOUND = _CODES["NVML_ERROR_NOT_FOUND"]
    NVML_ERROR_DRIVER_NOT_LOADED = _CODES["NVML_ERROR_DRIVER_NOT_LOADED"]
    NVML_ERROR_LIBRARY_NOT_FOUND = _CODES["NVML_ERROR_LIBRARY_NOT_FOUND"]
    NVML_ERROR_FUNCTION_NOT_FOUND = _CODES["NVML_ERROR_FUNCTION_NOT_FOUND"]
    NVML_ERROR_GPU_IS_LOST = _CODES["NVML_ERROR_GPU_IS_LOST"]
    NVML_ERROR_RESET_REQUIRED = _CODES["NVML_ERROR_RESET_REQUIRED"]
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = _CODES["NVML_ERROR_LIB_RM_VERSION_MISMATCH"]
    NVML_ERROR_NO_DATA = _CODES["NVML_ERROR_NO_DATA"]
    NVML_ERROR_UNKNOWN = _CODES["NVML_ERROR_UNKNOWN"]

    def __init__(
        self, cards: list[FakeCard] | None = None, *, init_error: str = "", driver: str | bytes = "575.51.03"
    ) -> None:
        self.cards = cards or []
        self.init_error = init_error
        self.driver = driver
        self.num_users = 0
        self.num_starts = 0

    def nvmlInit(self) -> None:  # noqa: N802  (the names are NVML's)
        if self.init_error:
            raise NVMLError(_CODES[self.init_error])
        self.num_starts += self.num_users == 0
        self.num_users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._require_init()
        self.num_users -= 1

    def nvmlSystemGetDriverVersion(self) -> str | bytes:  # noqa: N802
        self._require_init()
        return self.driver

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._require_init()
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeCard:  # noqa: N802
        self._require_init()
        if not 0 <= index < len(self.cards):
            raise NVMLError(self.NVML_ERROR_INVALID_ARGUMENT)
        return self._answering(self.cards[index], "nvmlDeviceGetHandleByIndex")

    def nvmlDeviceGetName(self, handle: FakeCard) -> str:  # noqa: N802
        return self._answering(handle, "nvmlDeviceGetName").name

    def nvmlDeviceGetUUID(self, handle: FakeCard) -> str:  # noqa: N802
        return self._answering(handle, "nvmlDeviceGetUUID").uuid

    def nvmlDeviceGetMemoryInfo(self, handle: FakeCard) -> _Memory:  # noqa: N802
        card = self._answering(handle, "nvmlDeviceGetMemoryInfo")
        free = card.memory_total_bytes - card.memory_used_bytes
        return _Memory(card.memory_total_bytes, card.memory_used_bytes, free)

    def nvmlDeviceGetUtilizationRates(self, handle: FakeCard) -> _Rates:  # noqa: N802
        return _Rates(self._answering(handle, "nvmlDeviceGetUtilizationRates").utilization_percent)

    def nvmlDeviceGetTemperature(self, handle: FakeCard, sensor: int) -> int:  # noqa: N802
        if sensor != self.NVML_TEMPERATURE_GPU:
            raise NVMLError(self.NVML_ERROR_INVALID_ARGUMENT)
        return self._answering(handle, "nvmlDeviceGetTemperature").temperature_celsius

    def nvmlDeviceGetPowerUsage(self, handle: FakeCard) -> int:  # noqa: N802
        return self._answering(handle, "nvmlDeviceGetPowerUsage").power_milliwatts

    def _require_init(self) -> None:
        if not self.num_users:
            raise NVMLError(self.NVML_ERROR_UNINITIALIZED)

    def _answering(self, card: FakeCard, function: str) -> FakeCard:
        self._require_init()
        refusal = card.refusal_of(function)
        if refusal is not None:
            raise NVMLError(refusal)
        return card
