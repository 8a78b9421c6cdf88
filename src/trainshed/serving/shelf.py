"""The loaded models: each loaded once, on demand, and evicted by last use within a memory budget.

Where files come from (`fetch`) and how an engine opens them (`load`) is told to the shelf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trainshed.errors import StorageFull, Unavailable
from trainshed.serving.models import LoadedModel, ModelFiles

FETCHES_AT_A_TIME = 4


@dataclass
class _Place:
    """A model on the shelf, or on its way there."""

    loading: asyncio.Task[LoadedModel]
    num_users: int = 0
    last_used: float = field(default_factory=time.monotonic)

    @property
    def model(self) -> LoadedModel | None:
        task = self.loading
        return task.result() if task.done() and not task.cancelled() and task.exception() is None else None


@dataclass(frozen=True)
class ShelfEntry:
    """A loaded model as `GET /models` tells it."""

    id: str
    backend: str
    memory_bytes: int
    num_users: int
    idle_seconds: float


class Shelf:
    """Loaded models by id. Lives on one event loop; `fetch` and `load` run in threads."""

    def __init__(
        self,
        fetch: Callable[[str], ModelFiles],
        load: Callable[[ModelFiles], LoadedModel],
        *,
        budget_bytes: int,
        seconds_to_wait_for_room: float = 10.0,
    ) -> None:
        self._fetch = fetch
        self._load = load
        self._budget_bytes = budget_bytes
        self._seconds_to_wait_for_room = seconds_to_wait_for_room
        self._places: dict[str, _Place] = {}
        self._fetching = ThreadPoolExecutor(FETCHES_AT_A_TIME, thread_name_prefix="fetch")
        self._one_load = asyncio.Lock()
        self._someone_left = asyncio.Event()

    @asynccontextmanager
    async def use(self, model_id: str) -> AsyncIterator[LoadedModel]:
        """The model, loaded if need be; it is not evicted inside the `with`.

        Raises what `fetch` and `load` raise, `StorageFull` if the model is larger than the budget, and
        `Unavailable` if the budget is full of models in use.
        """
        place = self._places.get(model_id) or self._begin(model_id)
        place.num_users += 1
        try:
            # Shielded: a caller that gives up must not end the load that others wait for.
            yield await asyncio.shield(place.loading)
        finally:
            place.num_users -= 1
            place.last_used = time.monotonic()
            self._someone_left.set()

    def bring(self, model_id: str) -> None:
        """Begin to load the model if it is not here; what keeps it from loading, `use` raises."""
        if model_id not in self._places:
            self._begin(model_id)

    def evict(self, model_id: str) -> bool:
        """Take the model off the shelf; who uses it now finishes first. False if it was not there."""
        return self._places.pop(model_id, None) is not None

    def entries(self) -> list[ShelfEntry]:
        """The loaded models, last used first."""
        now = time.monotonic()
        entries = [
            ShelfEntry(name, model.backend, model.memory_bytes, place.num_users, now - place.last_used)
            for name, place in self._places.items()
            if (model := place.model) is not None
        ]
        return sorted(entries, key=lambda entry: entry.idle_seconds)

    def close(self) -> None:
        """Forget all models and end the loads that run."""
        for place in self._places.values():
            place.loading.cancel()
        self._places.clear()
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _begin(self, model_id: str) -> _Place:
        place = _Place(asyncio.create_task(self._bring(model_id)))
        self._places[model_id] = place
        place.loading.add_done_callback(lambda _: self._forget_failed(model_id, place))
        return place

    def _forget_failed(self, model_id: str, place: _Place) -> None:
        """A failed load is tried again by the next request."""
        if place.model is None and self._places.get(model_id) is place:
            del self._places[model_id]

    async def _bring(self, model_id: str) -> LoadedModel:
        loop = asyncio.get_running_loop()
        files = await loop.run_in_executor(self._fetching, self._fetch, model_id)
        self._require_fits(files)
        async with self._one_load:
            await self._wait_for_room(files.expected_bytes)
            model = await loop.run_in_executor(self._fetching, self._load, files)
            # It may have grown larger than expected.
            self._make_room(model.memory_bytes)
            return model

    def _require_fits(self, files: ModelFiles) -> None:
        if files.expected_bytes > self._budget_bytes:
            raise StorageFull(
                f"Model {files.id!r} needs about {files.expected_bytes:,} bytes of memory; the model server "
                f"may use {self._budget_bytes:,}.",
                hint="Raise TRAINSHED_SERVING_MEMORY_BYTES.",
            )

    async def _wait_for_room(self, needed_bytes: int) -> None:
        try:
            async with asyncio.timeout(self._seconds_to_wait_for_room):
                while not self._make_room(needed_bytes):
                    self._someone_left.clear()
                    await self._someone_left.wait()
        except TimeoutError:
            raise Unavailable(
                f"The memory of the model server ({self._budget_bytes:,} bytes) is full of models in use.",
                hint="Try again shortly, or raise TRAINSHED_SERVING_MEMORY_BYTES.",
            ) from None

    def _make_room(self, needed_bytes: int) -> bool:
        """Evict idle models, longest unused first, until the bytes fit. False if they still do not."""
        models = {name: place.model for name, place in self._places.items()}
        free_bytes = self._budget_bytes - sum(model.memory_bytes for model in models.values() if model)
        idle = [name for name, model in models.items() if model and self._places[name].num_users == 0]
        for name in sorted(idle, key=lambda name: self._places[name].last_used):
            if free_bytes >= needed_bytes:
                break
            free_bytes += self._places.pop(name).loading.result().memory_bytes
        return free_bytes >= needed_bytes
