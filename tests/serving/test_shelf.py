"""Models are loaded once, on demand, and evicted by last use within the budget; never one in use."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from trainshed.errors import NotFound, StorageFull, Unavailable
from trainshed.schemas import Transform
from trainshed.serving.batching import Batcher, Workers
from trainshed.serving.models import LoadedModel, ModelFiles
from trainshed.serving.predictor import OnnxRuntimePredictor
from trainshed.serving.shelf import Shelf

from .material import SIZE, colour_network

NETWORK = colour_network()
EXPECTED = 3 * len(NETWORK)


class Loading:
    """Where the shelf of these tests gets its models: counts, can be held, can grow, can refuse."""

    def __init__(self) -> None:
        self.fetched: Counter[str] = Counter()
        self.loaded: Counter[str] = Counter()
        self.memory_bytes = EXPECTED
        self.gate = threading.Event()
        self.gate.set()
        self.unknown: set[str] = set()
        self.loading_now = 0
        self.workers = Workers()

    def fetch(self, model_id: str) -> ModelFiles:
        """The same network under every id."""
        self.fetched[model_id] += 1
        if model_id in self.unknown:
            raise NotFound(f"There is no model {model_id!r}.")
        return ModelFiles(model_id, NETWORK, [], Transform(size=SIZE))

    def load(self, files: ModelFiles) -> LoadedModel:
        """Open it; never two at once."""
        self.loaded[files.id] += 1
        self.loading_now += 1
        assert self.loading_now == 1
        assert self.gate.wait(10)
        predictor = OnnxRuntimePredictor(files.network, SIZE)
        self.loading_now -= 1
        batcher = Batcher(predictor, files.transform, self.workers)
        return LoadedModel(files.id, predictor.backend, self.memory_bytes, files.classes, batcher)


@pytest.fixture
def loading() -> Iterator[Loading]:
    loading = Loading()
    yield loading
    loading.gate.set()
    loading.workers.close()


@pytest.fixture
def shelf_story(loading: Loading) -> Callable[..., None]:
    """Runs a story on a shelf with room for so many models."""

    def run(story: Callable[[Shelf], Coroutine[Any, Any, None]], *, room_for: float = 2.5) -> None:
        async def whole() -> None:
            shelf = Shelf(
                loading.fetch,
                loading.load,
                budget_bytes=int(room_for * EXPECTED),
                seconds_to_wait_for_room=0.05,
            )
            try:
                await story(shelf)
            finally:
                shelf.close()

        asyncio.run(whole())

    return run


async def _touch(shelf: Shelf, *model_ids: str) -> None:
    for model_id in model_ids:
        async with shelf.use(model_id) as model:
            assert model.id == model_id


def _ids(shelf: Shelf) -> list[str]:
    return [entry.id for entry in shelf.entries()]


Story = Callable[..., None]


def test_a_model_is_loaded_once_for_many_first_requests(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        await asyncio.gather(*(_touch(shelf, "a") for _ in range(32)), *(_touch(shelf, "b") for _ in range(32)))

    shelf_story(story)
    assert loading.fetched == loading.loaded == {"a": 1, "b": 1}


def test_a_model_that_was_brought_is_there_for_its_first_request(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        shelf.bring("a")
        shelf.bring("a")
        async with asyncio.timeout(10):
            while _ids(shelf) != ["a"]:
                await asyncio.sleep(0.01)
        await _touch(shelf, "a")

    shelf_story(story)
    assert loading.loaded == {"a": 1}


def test_what_keeps_a_brought_model_away_is_told_to_the_first_request(loading: Loading, shelf_story: Story) -> None:
    loading.unknown = {"a"}

    async def story(shelf: Shelf) -> None:
        shelf.bring("a")
        with pytest.raises(NotFound):
            await _touch(shelf, "a")

    shelf_story(story)


def test_the_longest_unused_model_is_evicted_first(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        await _touch(shelf, "a", "b", "a", "c")
        assert _ids(shelf) == ["c", "a"]
        await _touch(shelf, "b")
        assert _ids(shelf) == ["b", "c"]

    shelf_story(story)
    assert loading.loaded == {"a": 1, "b": 2, "c": 1}


def test_a_model_in_use_is_not_evicted(shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        async with shelf.use("a"):
            await _touch(shelf, "b", "c")
            assert sorted(_ids(shelf)) == ["a", "c"]

    shelf_story(story)


def test_a_load_waits_until_a_model_in_use_is_left(shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        async with shelf.use("a"):
            waiting = asyncio.create_task(_touch(shelf, "b"))
            await asyncio.sleep(0.01)
            assert _ids(shelf) == ["a"]
        await waiting
        assert _ids(shelf) == ["b"]

    shelf_story(story, room_for=1.5)


def test_a_shelf_full_of_models_in_use_says_so_and_takes_the_model_later(shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        async with shelf.use("a"):
            with pytest.raises(Unavailable, match="full of models in use"):
                await _touch(shelf, "b")
        await _touch(shelf, "b")

    shelf_story(story, room_for=1.5)


def test_a_model_larger_than_the_budget_is_refused_with_the_setting(shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        with pytest.raises(StorageFull, match=f"needs about {EXPECTED:,} bytes") as refusal:
            await _touch(shelf, "a")
        assert "TRAINSHED_SERVING_MEMORY_BYTES" in refusal.value.hint

    shelf_story(story, room_for=0.9)


def test_a_model_that_grew_larger_than_expected_makes_the_others_leave(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        await _touch(shelf, "a")
        loading.memory_bytes = 2 * EXPECTED
        await _touch(shelf, "b")
        assert _ids(shelf) == ["b"]

    shelf_story(story)


def test_a_failed_load_is_told_to_all_who_wait_and_tried_again_later(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        loading.unknown.add("a")
        results = await asyncio.gather(*(_touch(shelf, "a") for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [NotFound] * 5
        assert loading.fetched["a"] == 1
        loading.unknown.clear()
        await _touch(shelf, "a")

    shelf_story(story)


def test_a_caller_that_gives_up_does_not_end_the_load(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        loading.gate.clear()
        leaver, stayer = (asyncio.create_task(_touch(shelf, "a")) for _ in range(2))
        await asyncio.sleep(0.01)
        leaver.cancel()
        loading.gate.set()
        await stayer
        assert loading.loaded == {"a": 1}

    shelf_story(story)


def test_an_evicted_model_still_answers_who_uses_it_and_is_loaded_anew(loading: Loading, shelf_story: Story) -> None:
    async def story(shelf: Shelf) -> None:
        async with shelf.use("a") as model:
            assert shelf.evict("a") and not shelf.evict("a")
            assert _ids(shelf) == []
            assert model.batcher is not None
        await _touch(shelf, "a")
        assert loading.loaded == {"a": 2}

    shelf_story(story)
