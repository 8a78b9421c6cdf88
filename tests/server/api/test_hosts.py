"""Hosts: what agents report, the slots that follow, and what others may see of them."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import Lab, make_host, ok, problem
from trainshed.schemas import HostView


def _reading(num_gpus: int = 0, **changes: Any) -> dict[str, Any]:
    gpus = [{"index": index, "name": "card"} for index in range(num_gpus)]
    return {"hostname": "machine", "cpu_count": 8, "gpus": gpus, **changes}


@pytest.fixture
def agent(nobody):
    return nobody.as_(make_host()[1])


def _slots() -> list[tuple[str, int]]:
    from trainshed.server.records.models import Slot

    return sorted(Slot.objects.values_list("pool", "position"))


def test_slots_follow_the_reading(agent):
    for num_gpus in (0, 2, 4, 1, 0):
        ok(agent.post("/hosts/readings", _reading(num_gpus)), 204)
        cpu = [("cpu", position) for position in range(4)]
        assert _slots() == [*cpu, *(("gpu", index) for index in range(num_gpus))]


@pytest.mark.parametrize(("cpu_count", "setting", "num"), [(1, None, 2), (3, None, 2), (16, None, 8), (16, "3", 3)])
def test_the_number_of_cpu_slots_is_half_the_cores_or_as_set(agent, monkeypatch, cpu_count, setting, num):
    if setting:
        monkeypatch.setenv("TRAINSHED_CPU_SLOTS", setting)
    ok(agent.post("/hosts/readings", _reading(cpu_count=cpu_count)), 204)
    assert len(_slots()) == num


def test_a_card_with_a_fault_gives_no_slot(agent):
    broken = {"index": 1, "fault": "Xid 79: it has fallen off the bus"}
    ok(agent.post("/hosts/readings", _reading(gpus=[{"index": 0}, broken])), 204)
    assert [slot for slot in _slots() if slot[0] == "gpu"] == [("gpu", 0)]


def test_a_held_slot_goes_only_when_it_is_free(nobody, lab):
    from trainshed.schemas import EndReport
    from trainshed.server.queue import ledger
    from trainshed.server.records.models import Host
    from trainshed.server.services.actors import hash_secret, new_secret

    held, _ = lab.attempt("train")
    key = new_secret("host")
    Host.objects.update(key_sha256=hash_secret(key))
    agent = nobody.as_(key)
    ok(agent.post("/hosts/readings", _reading(cpu_count=8)), 204)
    assert len(_slots()) == 4
    from trainshed.server.records.models import Slot

    Slot.objects.filter(attempt_id=held.attempt_id).update(position=9)
    ok(agent.post("/hosts/readings", _reading(cpu_count=8)), 204)
    assert ("cpu", 9) in _slots()
    ledger.end(held, EndReport(end="stopped"))
    ok(agent.post("/hosts/readings", _reading(cpu_count=8)), 204)
    assert ("cpu", 9) not in _slots() and len(_slots()) == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hostname": "m"},
        _reading(cpu_count="many"),
        _reading(gpus=[{"name": "no index"}]),
        _reading(schema_version=2),
        _reading(gpus=[{"index": 0}, {"index": 0}]),
        _reading(gpus=[{"index": 10**12}]),
        _reading(cpu_count=10**12),
        _reading(cpu_count=-4),
        [],
    ],
    ids=str,
)
def test_a_reading_that_makes_no_sense_changes_nothing(agent, body):
    ok(agent.post("/hosts/readings", _reading(1)), 204)
    before = _slots()
    problem(agent.post("/hosts/readings", body), 422, "invalid_input")
    assert _slots() == before


def test_a_reading_of_a_newer_agent_may_hold_more(agent):
    ok(agent.post("/hosts/readings", {**_reading(), "fans": 3}), 204)


def test_hosts_are_shown_with_their_readings_and_slots(nobody, agent, viewer):
    (row,) = [HostView.model_validate(entry) for entry in ok(viewer.get("/hosts"))["items"]]
    assert (row.name, row.age_seconds, row.reading, row.slots) == ("machine", None, None, [])
    ok(agent.post("/hosts/readings", _reading(1, memory_total_bytes=7)), 204)
    (row,) = [HostView.model_validate(entry) for entry in ok(viewer.get("/hosts"))["items"]]
    assert row.age_seconds is not None and 0 <= row.age_seconds < 30
    assert row.reading is not None and row.reading.memory_total_bytes == 7
    assert [(slot["pool"], slot["is_busy"]) for slot in row.slots] == [("cpu", False)] * 4 + [("gpu", False)]


def test_a_foreign_jobs_title_is_hidden_and_its_slot_is_busy(nobody, lab, viewer):
    lab.attempt("train")
    Lab("elsewhere").attempt("train")
    slots = [slot for host in ok(viewer.get("/hosts"))["items"] for slot in host["slots"]]
    assert [slot["is_busy"] for slot in slots] == [True, True]
    assert sorted(slot["job_title"] is None for slot in slots) == [False, True]
    assert sorted(slot["job_id"] is None for slot in slots) == [False, True]


def test_no_key_is_ever_shown(nobody, viewer):
    host, key = make_host()
    text = viewer.get("/hosts").text
    assert key not in text and host.key_sha256 not in text


def test_this_machine_gets_a_new_key_at_each_start_and_the_old_one_stops(nobody, database):
    from trainshed.server.records.models import Host
    from trainshed.server.services import hosts

    old, new = hosts.enrol_this_machine(), hosts.enrol_this_machine()
    assert old != new and Host.objects.count() == 1
    problem(nobody.as_(old).post("/hosts/readings", _reading()), 401, "not_signed_in")
    ok(nobody.as_(new).post("/hosts/readings", _reading()), 204)


def test_health_needs_no_token(nobody):
    from trainshed import __version__

    assert ok(nobody.get("/health")) == {"status": "ok", "version": __version__}
