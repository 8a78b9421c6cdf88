"""The agent's loop: it goes on whatever happens, and stops when told."""

from __future__ import annotations

import logging
import threading

import pytest

from trainshed.errors import ServerUnreachable
from trainshed.hosts import agent
from trainshed.schemas import HostReading
from trainshed.testing.fake_nvml import FakeCard, FakeNvml


class Receiver:
    """Takes readings; fails as often as it is told; stops the loop after `enough` calls."""

    def __init__(self, enough: int, failures: list[Exception] | None = None) -> None:
        self.stop = threading.Event()
        self.readings: list[HostReading] = []
        self.failures = failures or []
        self.enough = enough
        self.num_calls = 0

    def __call__(self, reading: HostReading) -> None:
        self.num_calls += 1
        if self.num_calls >= self.enough:
            self.stop.set()
        if self.failures:
            raise self.failures.pop(0)
        self.readings.append(reading)


def test_readings_are_sent_again_and_again_until_stopped() -> None:
    receiver = Receiver(enough=3)

    agent.run(receiver, every_seconds=0.001, stop=receiver.stop, nvml=FakeNvml([FakeCard()]))

    assert len(receiver.readings) == 3
    assert receiver.readings[-1].cpu_percent is not None


def test_the_loop_goes_on_after_errors_of_any_kind(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(enough=3, failures=[ServerUnreachable("no answer"), KeyError("odd")])

    with caplog.at_level(logging.WARNING):
        agent.run(receiver, every_seconds=0.001, stop=receiver.stop, nvml=FakeNvml([]))

    assert len(receiver.readings) == 1
    assert "1 in a row): no answer" in caplog.text
    assert "2 in a row): 'odd'" in caplog.text


def test_an_unexpected_error_is_logged_with_its_traceback_and_an_expected_one_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for error in (KeyError("odd"), ServerUnreachable("no answer")):
        receiver = Receiver(enough=1, failures=[error])
        agent.run(receiver, every_seconds=0.001, stop=receiver.stop, nvml=FakeNvml([]))

    assert [bool(record.exc_info) for record in caplog.records] == [True, False]


def test_each_failure_in_a_row_waits_longer_up_to_half_a_minute() -> None:
    assert agent.pause_seconds(5.0, failures=0) == 5.0
    assert 7.5 <= agent.pause_seconds(5.0, failures=1) <= 10.0
    assert 15.0 <= agent.pause_seconds(5.0, failures=2) <= 20.0
    assert 22.5 <= agent.pause_seconds(5.0, failures=1_000_000) <= 30.0
    assert agent.pause_seconds(60.0, failures=3) <= 60.0


def test_a_healthy_driver_stays_open_between_readings_and_is_closed_at_the_end() -> None:
    nvml = FakeNvml([FakeCard()])
    receiver = Receiver(enough=4)

    agent.run(receiver, every_seconds=0.001, stop=receiver.stop, nvml=nvml)

    assert nvml.num_starts == 2  # the first reading's own, then one for all others
    assert nvml.num_users == 0


def test_a_driver_with_a_lost_card_is_opened_afresh_for_each_reading() -> None:
    nvml = FakeNvml([FakeCard(), FakeCard(lost=True)])
    receiver = Receiver(enough=3)

    agent.run(receiver, every_seconds=0.001, stop=receiver.stop, nvml=nvml)

    assert nvml.num_starts == 3


def test_a_stop_ends_a_long_pause_at_once() -> None:
    receiver = Receiver(enough=10)
    thread = threading.Thread(target=agent.run, args=(receiver, 3600.0, receiver.stop, FakeNvml([])))

    thread.start()
    receiver.stop.set()
    thread.join(timeout=10)

    assert not thread.is_alive()
