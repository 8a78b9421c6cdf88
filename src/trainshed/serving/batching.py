"""From a picture's bytes to its probabilities: decode beside each other, predict together.

A lone request never waits for others; while a batch runs, arrivals gather and form the next one.
Knows nothing of HTTP and nothing of where models come from.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from trainshed.pictures import load
from trainshed.schemas import Transform
from trainshed.serving.predictor import Pictures, Predictor, Probabilities, num_cores


class Workers:
    """The threads of the model server: one per core decodes, one predicts (an engine takes all cores)."""

    def __init__(self) -> None:
        self.decoding = ThreadPoolExecutor(num_cores(), thread_name_prefix="decode")
        self.predicting = ThreadPoolExecutor(1, thread_name_prefix="predict")

    def close(self) -> None:
        """End the threads; work that has not begun is dropped."""
        for pool in (self.decoding, self.predicting):
            pool.shutdown(cancel_futures=True)


@dataclass
class _Batch:
    pictures: list[Pictures] = field(default_factory=list)
    answers: asyncio.Task[Probabilities] | None = None


class Batcher:
    """Gathers the pictures for one network. Lives on one event loop, so its state needs no lock."""

    def __init__(self, predictor: Predictor, transform: Transform, workers: Workers) -> None:
        self._predictor = predictor
        self._transform = transform
        self._workers = workers
        self._gathering: _Batch | None = None
        self._turn = asyncio.Lock()

    async def answer(self, data: bytes, *, name: str = "") -> Probabilities:
        """Probabilities float32 `(num_classes,)` of one picture file. Raises `PictureRefused`."""
        loop = asyncio.get_running_loop()
        picture = await loop.run_in_executor(self._workers.decoding, self._load, data, name)
        batch, index = self._join(picture)
        assert batch.answers is not None
        # Shielded: a caller that gives up must not take its neighbours' answers away.
        answers = await asyncio.shield(batch.answers)
        return answers[index]  # type: ignore[no-any-return]

    def _load(self, data: bytes, name: str) -> Pictures:
        return load(data, self._transform, name=name)

    def _join(self, picture: Pictures) -> tuple[_Batch, int]:
        """Put the picture into the batch that is gathering; a full one is closed and a new one opened."""
        batch = self._gathering
        if batch is None or len(batch.pictures) >= self._predictor.max_batch:
            batch = self._gathering = _Batch()
            batch.answers = asyncio.create_task(self._run(batch))
        batch.pictures.append(picture)
        return batch, len(batch.pictures) - 1

    async def _run(self, batch: _Batch) -> Probabilities:
        """Wait for the batch before, close this one, and predict it."""
        async with self._turn:
            if self._gathering is batch:
                self._gathering = None
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._workers.predicting, self._predict, batch.pictures)

    def _predict(self, batch: list[Pictures]) -> Probabilities:
        return self._predictor.predict(np.stack(batch))
