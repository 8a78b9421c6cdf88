"""Readings of a machine, on the fake driver and, where one is installed, on the real one."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

from trainshed import hosts
from trainshed.hosts import readings
from trainshed.schemas import HostReading
from trainshed.testing.fake_nvml import FakeCard, FakeNvml


def _real_driver() -> Any:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return pytest.param(pynvml, id="real", marks=pytest.mark.skip(reason=f"no usable driver here: {error}"))
    pynvml.nvmlShutdown()
    return pytest.param(pynvml, id="real")


@pytest.fixture(params=[pytest.param(None, id="fake"), _real_driver()])
def driver(request: pytest.FixtureRequest) -> Any:
    """A driver with at least one healthy card."""
    return request.param or FakeNvml([FakeCard(), FakeCard(name="NVIDIA A10", uuid="GPU-1")])


class TestContract:
    """What holds for every driver."""

    def test_each_card_tells_its_name_memory_and_index(self, driver: Any) -> None:
        reading = hosts.read(driver)

        assert reading.gpu_state == "ok"
        assert [gpu.index for gpu in reading.gpus] == list(range(len(reading.gpus)))
        assert reading.gpus
        for gpu in reading.gpus:
            assert gpu.fault is None
            assert gpu.name
            assert gpu.memory_total_bytes is None or gpu.memory_total_bytes > 2**28
            assert gpu.memory_used_bytes is None or 0 <= gpu.memory_used_bytes <= (gpu.memory_total_bytes or 0)
            assert gpu.utilization_percent is None or 0 <= gpu.utilization_percent <= 100
            assert gpu.power_watts is None or gpu.power_watts < 2000
        assert isinstance(reading.driver, str)

    def test_reading_leaves_the_driver_closed(self, driver: Any) -> None:
        hosts.read(driver)

        with pytest.raises(driver.NVMLError) as caught:
            driver.nvmlDeviceGetCount()
        assert caught.value.value == driver.NVML_ERROR_UNINITIALIZED

    def test_an_index_out_of_range_is_an_invalid_argument(self, driver: Any) -> None:
        with readings.driver_open(driver), pytest.raises(driver.NVMLError) as caught:
            driver.nvmlDeviceGetHandleByIndex(10_000)
        assert caught.value.value == driver.NVML_ERROR_INVALID_ARGUMENT

    def test_a_reading_survives_the_wire(self, driver: Any) -> None:
        reading = hosts.read(driver)

        assert HostReading.model_validate_json(reading.model_dump_json()) == reading


def test_the_fake_has_the_names_numbers_and_arguments_of_pynvml() -> None:
    for name in [name for name in dir(FakeNvml) if name.startswith(("NVML_", "nvml"))]:
        real, fake = getattr(pynvml, name), getattr(FakeNvml, name)
        if name.startswith("NVML_"):
            assert fake == real, name
        else:
            num_arguments = len(inspect.signature(fake).parameters) - 1  # without self
            inspect.signature(real).bind(*range(num_arguments))


@pytest.mark.parametrize(
    ("init_error", "state", "words"),
    [
        ("NVML_ERROR_LIBRARY_NOT_FOUND", "no_driver", "No NVIDIA driver"),
        ("NVML_ERROR_DRIVER_NOT_LOADED", "no_driver", "not loaded"),
        ("NVML_ERROR_LIB_RM_VERSION_MISMATCH", "mismatch", "Reboot"),
        ("NVML_ERROR_NO_PERMISSION", "forbidden", "/dev/nvidia"),
        ("NVML_ERROR_UNKNOWN", "fault", "Unknown"),
    ],
)
def test_a_driver_that_refuses_is_a_state_with_words(init_error: str, state: str, words: str) -> None:
    reading = hosts.read(FakeNvml([FakeCard()], init_error=init_error))

    assert reading.gpu_state == state
    assert words in reading.gpu_state_words
    assert reading.gpus == []
    assert reading.memory_total_bytes  # the rest of the machine is told all the same


def test_a_driver_without_a_card_says_so() -> None:
    reading = hosts.read(FakeNvml([]))

    assert (reading.gpu_state, reading.gpu_state_words) == ("none", "The driver sees no card.")
    assert reading.driver == "575.51.03"


def test_a_lost_card_is_a_value_and_hides_no_other_card() -> None:
    reading = hosts.read(FakeNvml([FakeCard(), FakeCard(lost=True), FakeCard(name="NVIDIA L4")]))

    healthy, lost, last = reading.gpus
    assert reading.gpu_state == "ok"
    assert lost.fault and "fallen off the bus" in lost.fault
    assert lost.index == 1
    assert lost.memory_used_bytes is None
    assert healthy.fault is None
    assert last.name == "NVIDIA L4"


def test_a_card_that_fails_in_the_middle_keeps_what_it_told() -> None:
    card = FakeCard(failing={"nvmlDeviceGetTemperature": FakeNvml.NVML_ERROR_RESET_REQUIRED})

    [gpu] = hosts.read(FakeNvml([card])).gpus

    assert gpu.name == card.name
    assert gpu.memory_used_bytes == card.memory_used_bytes
    assert gpu.temperature_celsius is None
    assert gpu.fault == "The card must be reset before it works again."


def test_what_a_card_does_not_tell_is_unknown_and_not_zero() -> None:
    card = FakeCard(unsupported={"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"})

    [gpu] = hosts.read(FakeNvml([card])).gpus

    assert gpu.fault is None
    assert (gpu.memory_total_bytes, gpu.memory_used_bytes) == (None, None)
    assert (gpu.utilization_percent, gpu.power_watts) == (None, None)
    assert gpu.temperature_celsius == 40


def test_an_idle_card_reads_zero_and_not_unknown() -> None:
    [gpu] = hosts.read(FakeNvml([FakeCard(memory_used_bytes=0, utilization_percent=0, power_milliwatts=0)])).gpus

    assert (gpu.memory_used_bytes, gpu.utilization_percent, gpu.power_watts) == (0, 0.0, 0.0)


def test_names_in_bytes_from_an_older_library_become_text() -> None:
    assert hosts.read(FakeNvml([FakeCard()], driver=b"470.1")).driver == "470.1"


def test_the_disk_is_that_of_the_home_even_before_the_home_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINSHED_HOME", str(tmp_path / "not" / "yet"))

    reading = hosts.read(FakeNvml([]))

    assert reading.disk_total_bytes and reading.disk_free_bytes
    assert reading.disk_free_bytes <= reading.disk_total_bytes
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("150000 100000\n", 2),
        ("400000 100000\n", 4),
        ("max 100000\n", None),
        ("nonsense", None),
        ("1 0", None),
    ],
)
def test_a_containers_quota_limits_the_cores(tmp_path: Path, content: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(content)

    assert readings._quota_cores(tmp_path / "cpu.max") == cores
    assert readings._quota_cores(tmp_path / "missing") is None


def test_the_first_reading_of_a_process_has_no_cpu_percent_and_prints_as_json() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "trainshed.hosts"], capture_output=True, text=True, check=True, timeout=60
    )

    reading = HostReading.model_validate(json.loads(answer.stdout))
    assert reading.cpu_percent is None
    assert reading.cpu_count >= 1
    assert reading.versions["python"]


def test_opening_the_room_does_not_open_nvml() -> None:
    code = "import sys, trainshed.hosts; assert 'pynvml' not in sys.modules and 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
