"""What the door of the model server does when too much comes at once, without a process around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import httpx

from trainshed.errors import NotFound
from trainshed.serving.app import ModelServer, build_app
from trainshed.serving.models import ModelFiles
from trainshed.serving.shelf import Shelf


def _nothing(_: object) -> Any:
    raise AssertionError("this must not be called")


def _client(server: ModelServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=build_app(server)), base_url="http://serving")


def test_waiting_pictures_may_fill_so_many_bytes_and_no_more() -> None:
    gate = threading.Event()

    def fetch(model_id: str) -> ModelFiles:
        assert gate.wait(10)
        raise NotFound(f"There is no model {model_id!r}.")

    async def story() -> tuple[list[int], list[int]]:
        shelf = Shelf(fetch, _nothing, budget_bytes=1)
        server = ModelServer(shelf, max_image_bytes=700, max_waiting_bytes=1000)
        async with _client(server) as client:

            async def ask(num_bytes: int) -> int:
                return (await client.post("/models/a/predict", content=bytes(num_bytes))).status_code

            first = asyncio.create_task(ask(600))
            while (await client.get("/health")).json()["waiting"] != 1:
                await asyncio.sleep(0)
            while_one_waits = [await ask(600)]
            gate.set()
            return while_one_waits, [await first, await ask(600), await ask(701)]

    assert asyncio.run(story()) == ([503], [404, 404, 413])


def test_a_picture_that_comes_too_slowly_gives_its_place_free() -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.Event().wait()

    async def story() -> tuple[int, str, int]:
        shelf = Shelf(_nothing, _nothing, budget_bytes=1)
        server = ModelServer(shelf, max_image_bytes=700, seconds_for_a_body=0.05)
        async with _client(server) as client:
            answer = await client.post("/models/a/predict", content=drip())
            health = await client.get("/health")
            return answer.status_code, answer.json()["detail"], health.json()["waiting"]

    assert asyncio.run(story()) == (503, "The picture took more than 0.05 s to come.", 0)
