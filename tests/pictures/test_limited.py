from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainshed.errors import PictureRefused, TrainshedError
from trainshed.pictures.decode import Limits
from trainshed.pictures.inspect import Inspection, inspect
from trainshed.pictures.limited import Inspectors, memory_needed_bytes

from .material import LIMITS, encode, photo, png, quarters

SMALL = encode(quarters(8, 8), "PNG")


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def is_running(process_id: int) -> bool:
    stat = Path(f"/proc/{process_id}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_results_come_in_order_and_equal_those_of_an_inspection_here() -> None:
    files = [(f"{i}.png", encode(quarters(8 + i, 300), "PNG")) for i in range(30)]
    files[7] = ("7.png", b"no picture")
    files[20] = ("20.jpg", encode(photo(900, 700), "JPEG"))
    with Inspectors(2, limits=LIMITS) as inspectors:
        found = list(inspectors.map(files))
    assert [name for name, _ in found] == [name for name, _ in files]
    assert isinstance(found[7][1], PictureRefused) and "'7.png' is a text file" in found[7][1].message
    good = [i for i in range(30) if i != 7]
    assert [found[i][1] for i in good] == [inspect(files[i][1], limits=LIMITS) for i in good]


def test_names_of_any_kind_pass() -> None:
    names = ["猫/😺.png", "x" * 4000, "a\nb", "\udcff", ""]
    with Inspectors(1, limits=LIMITS) as inspectors:
        assert [name for name, _ in inspectors.map((name, SMALL) for name in names)] == names
        refused = dict(inspectors.map([("猫/😺.png", b"?")]))["猫/😺.png"]
    assert isinstance(refused, PictureRefused) and "'猫/😺.png'" in refused.message


def test_two_thousand_small_pictures_a_second_on_two_cores() -> None:
    with Inspectors(2, limits=LIMITS) as inspectors:
        list(inspectors.map([("warm", SMALL)] * 200))
        begin = time.perf_counter()
        results = inspectors.map([("a", SMALL)] * 4000)
        assert sum(isinstance(found, Inspection) for _, found in results) == 4000
        assert 4000 / (time.perf_counter() - begin) >= 2000


def test_few_items_are_taken_ahead() -> None:
    taken = 0

    def files() -> Iterator[tuple[str, bytes]]:
        nonlocal taken
        while True:
            taken += 1
            yield "a", SMALL

    with Inspectors(2, limits=LIMITS) as inspectors:
        results = inspectors.map(files())
        next(results)
        assert taken <= 64 * 7
        results.close()
        assert isinstance(next(inspectors.map([("b", SMALL)]))[1], Inspection)


def test_a_picture_that_needs_more_memory_than_allowed_is_refused_alone() -> None:
    large = png(6000, 6000, color=6)
    with Inspectors(1, limits=LIMITS, memory_bytes=240 << 20) as inspectors:
        found = dict(inspectors.map([("a", SMALL), ("large", large), ("b", SMALL)]))
    assert isinstance(found["large"], PictureRefused)
    assert isinstance(found["a"], Inspection) and isinstance(found["b"], Inspection)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_default_memory_is_enough_for_the_hungriest_format() -> None:
    def peak_bytes(process_id: int) -> int:
        status = Path(f"/proc/{process_id}/status").read_text().split()
        return int(status[status.index("VmPeak:") + 1]) << 10

    webp = encode(photo(2000, 2000).convert("RGBA"), "WEBP", method=0, quality=5)
    with Inspectors(1, limits=LIMITS) as inspectors:
        next(inspectors.map([("warm", encode(quarters(), "WEBP"))]))
        (process_id,) = inspectors.process_ids
        idle_bytes = peak_bytes(process_id)
        assert isinstance(next(inspectors.map([("large", webp)]))[1], Inspection)
        grown_bytes = peak_bytes(process_id) - idle_bytes
    per_pixel = Limits(LIMITS.max_pixels + 2000 * 2000, LIMITS.max_bytes)
    assert grown_bytes <= memory_needed_bytes(per_pixel) - memory_needed_bytes(LIMITS)
    assert idle_bytes < 300 << 20


def test_pictures_whose_child_always_dies_are_refused_alone_and_the_child_replaced() -> None:
    slow = png(7000, 7000, depth=1)  # few bytes, so that all travel together; 200 MB when decoded
    assert len(slow) < 64 << 10
    files = [("a", SMALL), ("slow", slow), ("slower", slow), ("b", SMALL), ("c", SMALL)]
    with Inspectors(1, limits=LIMITS) as inspectors:
        killed: set[int] = set()
        done = threading.Event()

        def kill_whatever_holds_a_large_picture() -> None:
            while not done.is_set():
                for process_id in set(inspectors.process_ids) - killed:
                    if resident_bytes(process_id) > 100 << 20:
                        os.kill(process_id, signal.SIGKILL)
                        killed.add(process_id)
                time.sleep(0.002)

        killer = threading.Thread(target=kill_whatever_holds_a_large_picture)
        killer.start()
        found = dict(inspectors.map(files))
        done.set()
        killer.join()
        survivors = inspectors.process_ids
    assert len(killed) == 4 and not killed & set(survivors)
    for name in ("slow", "slower"):
        refused = found[name]
        assert isinstance(refused, PictureRefused)
        assert f"'{name}' ended its decoder twice (signal SIGKILL)" in refused.message
    assert all(isinstance(found[name], Inspection) for name in "abc")


def resident_bytes(process_id: int) -> int:
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, IndexError, ProcessLookupError):
        return 0


def test_a_child_killed_from_outside_costs_no_picture() -> None:
    with Inspectors(1, limits=LIMITS) as inspectors:
        next(inspectors.map([("warm", SMALL)]))
        (process_id,) = inspectors.process_ids
        os.kill(process_id, signal.SIGKILL)
        wait_until(lambda: not is_running(process_id))
        assert isinstance(dict(inspectors.map([("a", SMALL), ("b", SMALL)]))["a"], Inspection)


def test_a_picture_that_takes_too_long_is_refused_alone() -> None:
    with Inspectors(1, limits=LIMITS, timeout_seconds=0.5) as inspectors:
        next(inspectors.map([("warm", SMALL)]))
        (process_id,) = inspectors.process_ids
        os.kill(process_id, signal.SIGSTOP)
        found = dict(inspectors.map([("hangs", SMALL), ("next", SMALL)]))
        assert inspectors.process_ids != [process_id] and not is_running(process_id)
    assert isinstance(found["hangs"], PictureRefused) and "more than 0.5 s" in found["hangs"].message
    assert isinstance(found["next"], Inspection)


def test_a_child_that_does_not_even_read_a_large_picture_is_given_up() -> None:
    large = SMALL + bytes(8 << 20)
    with Inspectors(1, limits=LIMITS, timeout_seconds=0.5) as inspectors:
        next(inspectors.map([("warm", SMALL)]))
        os.kill(inspectors.process_ids[0], signal.SIGSTOP)
        assert isinstance(next(inspectors.map([("large", large)]))[1], PictureRefused)


def test_the_children_end_with_the_pool_even_in_the_middle_of_work() -> None:
    with Inspectors(2, limits=LIMITS) as inspectors:
        results = inspectors.map([("a", SMALL)] * 10_000)
        next(results)
        children = inspectors.process_ids
        assert children
    wait_until(lambda: not any(map(is_running, children)))
    with pytest.raises(RuntimeError, match=r"after shutdown"):
        list(inspectors.map([("a", SMALL)]))


@pytest.mark.skipif(sys.platform != "linux", reason="a parent-death signal is Linux's")
def test_the_children_die_with_a_killed_parent_even_when_they_do_not_read() -> None:
    script = (
        "import sys; from trainshed.pictures import Inspectors\n"
        "with Inspectors(2) as inspectors:\n"
        "    list(inspectors.map([('a', b'x' * 300_000)] * 4))\n"
        "    print(*inspectors.process_ids, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin and parent.stdout
    with parent:
        children = [int(word) for word in parent.stdout.readline().split()]
        assert children and all(map(is_running, children))
        for child in children:
            os.kill(child, signal.SIGSTOP)
        parent.kill()
        wait_until(lambda: not any(map(is_running, children)))


def test_a_child_is_limited_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINSHED_TOKEN", "very-secret")
    with Inspectors(1, limits=LIMITS, memory_bytes=700 << 20) as inspectors:
        next(inspectors.map([("warm", SMALL)]))
        child = Path(f"/proc/{inspectors.process_ids[0]}")
        assert b"very-secret" not in (child / "environ").read_bytes()
        lines = (child / "limits").read_text().splitlines()
        bounds = {line[:26].strip(): line[26:].split()[0] for line in lines}
    assert bounds["Max address space"] == str(700 << 20)
    assert bounds["Max core file size"] == "0"
    assert bounds["Max open files"] == "64"


def test_a_child_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # it complains about the options of Python
    with (
        Inspectors(1, limits=LIMITS) as inspectors,
        pytest.raises(TrainshedError, match=r"does not start: exit code 1. .*option"),
    ):
        list(inspectors.map([("a", SMALL)]))
