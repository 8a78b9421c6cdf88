"""Pictures are predicted together when they arrive while a batch runs, and never wait when none does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from trainshed import pictures
from trainshed.errors import PictureRefused
from trainshed.schemas import Transform
from trainshed.serving.batching import Batcher, Workers

from .material import SIZE, picture_of

TRANSFORM = Transform(size=SIZE)
RED, GREEN = picture_of((255, 0, 0)), picture_of((0, 255, 0))


class Gated:
    """Answers each picture's mean colour; holds every batch until its gate opens; remembers batch sizes."""

    backend, max_batch = "gated", 4

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.batch_sizes: list[int] = []
        self.fault: Exception | None = None

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Mean colour of each picture, 0..1."""
        self.batch_sizes.append(len(batch))
        self.began.release()
        assert self.gate.wait(10)
        if self.fault:
            raise self.fault
        return (batch.mean((1, 2)) / 255).astype(np.float32)


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def gated() -> Iterator[Gated]:
    gated = Gated()
    yield gated
    gated.gate.set()


async def _until_began(gated: Gated) -> None:
    assert await asyncio.to_thread(gated.began.acquire, True, 10)


async def _until_decoded(workers: Workers) -> None:
    """All pictures handed in so far are decoded and have joined a batch."""
    blockers = [workers.decoding.submit(int) for _ in range(8)]
    await asyncio.gather(*map(asyncio.wrap_future, blockers))
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_lone_picture_is_predicted_at_once_and_alone(workers: Workers, gated: Gated) -> None:
    gated.gate.set()
    batcher = Batcher(gated, TRANSFORM, workers)
    answer = asyncio.run(batcher.answer(RED))
    np.testing.assert_allclose(answer, [1, 0, 0])
    assert gated.batch_sizes == [1]


def test_pictures_that_arrive_while_a_batch_runs_form_the_next_ones(workers: Workers, gated: Gated) -> None:
    async def story() -> list[np.ndarray]:
        batcher = Batcher(gated, TRANSFORM, workers)
        tasks = [asyncio.create_task(batcher.answer(RED))]
        await _until_began(gated)
        tasks += [asyncio.create_task(batcher.answer(GREEN if i % 2 else RED)) for i in range(6)]
        await asyncio.sleep(0)
        await _until_decoded(workers)
        gated.gate.set()
        return list(await asyncio.gather(*tasks))

    answers = asyncio.run(story())
    assert gated.batch_sizes == [1, 4, 2]
    assert [int(answer.argmax()) for answer in answers] == [0, 0, 1, 0, 1, 0, 1]


def test_a_broken_picture_fails_alone(workers: Workers, gated: Gated) -> None:
    gated.gate.set()

    async def story() -> list[np.ndarray | BaseException]:
        batcher = Batcher(gated, TRANSFORM, workers)
        files = [RED, RED[:50], GREEN, b"no picture"]
        return await asyncio.gather(*(batcher.answer(file) for file in files), return_exceptions=True)

    red, cut, green, text = asyncio.run(story())
    assert isinstance(cut, PictureRefused) and isinstance(text, PictureRefused)
    assert isinstance(red, np.ndarray) and red.argmax() == 0
    assert isinstance(green, np.ndarray) and green.argmax() == 1


def test_a_caller_that_gives_up_takes_no_neighbour_along(workers: Workers, gated: Gated) -> None:
    async def story() -> np.ndarray:
        batcher = Batcher(gated, TRANSFORM, workers)
        first = asyncio.create_task(batcher.answer(RED))
        await _until_began(gated)
        leaver, stayer = (asyncio.create_task(batcher.answer(file)) for file in (RED, GREEN))
        await asyncio.sleep(0)
        await _until_decoded(workers)
        leaver.cancel()
        first.cancel()
        gated.gate.set()
        return await stayer

    assert asyncio.run(story()).argmax() == 1


def test_a_fault_of_the_engine_reaches_its_batch_and_the_next_batch_is_answered(workers: Workers, gated: Gated) -> None:
    gated.gate.set()
    gated.fault = RuntimeError("out of memory")

    async def story() -> np.ndarray:
        batcher = Batcher(gated, TRANSFORM, workers)
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.answer(RED)
        gated.fault = None
        return await batcher.answer(RED)

    assert asyncio.run(story()).argmax() == 0


def test_the_network_sees_exactly_what_pictures_load_gives(workers: Workers) -> None:
    class Seeing(Gated):
        def predict(self, batch: np.ndarray) -> np.ndarray:
            self.seen = batch
            return super().predict(batch)

    seeing = Seeing()
    seeing.gate.set()
    asyncio.run(Batcher(seeing, TRANSFORM, workers).answer(RED))
    assert (seeing.seen[0] == pictures.load(RED, TRANSFORM)).all()
