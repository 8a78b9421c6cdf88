"""The model server as a real process on its Unix socket: what web sees of it."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from trainshed import pictures
from trainshed.errors import BY_CODE, StartRefused
from trainshed.schemas import Prediction, Transform
from trainshed.serving.app import MAX_WAITING
from trainshed.serving.main import run
from trainshed.serving.predictor import OnnxRuntimePredictor

from .material import SIZE, archive_of, colour_network, convolution_network, photo, picture_of
from .processes import Process, Web, sha256

RED = picture_of((255, 0, 0))
Start = Callable[..., Process]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Process]]:
    """One model server for the tests that leave it as it was."""
    web = Web()
    web.add("colour", archive_of(colour_network()))
    web.add("convolution", archive_of(convolution_network()))
    with web.serving():
        process = Process(web.url, tmp_path_factory.mktemp("serving"), TRAINSHED_MAX_IMAGE_BYTES="4000000")
        try:
            process.wait_until_ready()
            yield web, process
        finally:
            process.close()


@pytest.fixture
def process(shared: tuple[Web, Process]) -> Process:
    return shared[1]


def _refusal(answer: httpx.Response, code: str) -> str:
    """The words of a problem document with this code, which must be whole."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, answer.status_code) == (code, BY_CODE[code].status)
    return str(problem["detail"])


def test_a_picture_is_answered_with_its_classes_best_first(process: Process) -> None:
    answer = process.predict("colour", RED)
    prediction = Prediction.model_validate_json(answer.content)
    assert answer.status_code == 200 and prediction.model_id == "colour" and prediction.milliseconds > 0
    assert [score.label for score in prediction.predictions] == ["red", "green", "blue"]
    assert prediction.predictions[0].class_id == "id-red" and prediction.predictions[0].score > 0.99


def test_the_answer_is_that_of_the_network_on_what_pictures_load_gives(process: Process) -> None:
    for seed in range(3):
        picture = pictures.load(photo(seed), Transform(size=SIZE))
        expected = OnnxRuntimePredictor(convolution_network(), SIZE).predict(picture[None])[0]
        scores = process.predict("convolution", photo(seed)).json()["predictions"]
        by_id = {score["class_id"]: score["score"] for score in scores}
        answer = [by_id[each] for each in ("id-red", "id-green", "id-blue")]
        np.testing.assert_allclose(answer, expected, atol=1e-2)


def test_top_limits_the_classes_and_must_be_a_whole_number(process: Process) -> None:
    assert len(process.predict("colour", RED, top="1").json()["predictions"]) == 1
    assert len(process.predict("colour", RED, top="1000").json()["predictions"]) == 3
    for wrong in ("0", "-1", "1.5", "many", "1001", ""):
        assert repr(wrong) in _refusal(process.predict("colour", RED, top=wrong), "invalid_input")


def _png_bomb() -> bytes:
    """A PNG of a few bytes whose header promises 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (_png_bomb(), "'it.jpg' is 60000 x 60000 px"),
        (b"just some text", "'it.jpg' is a text file"),
        (photo()[:200], "'it.jpg' begins like JPEG but is broken"),
        (b"", "'it.jpg' is empty"),
    ],
    ids=["bomb", "text", "cut off", "empty"],
)
def test_a_file_that_is_no_good_picture_is_refused_by_name(process: Process, file: bytes, words: str) -> None:
    assert words in _refusal(process.predict("colour", file, name="it.jpg"), "picture_refused")


def test_a_body_above_the_limit_is_refused_whether_its_length_is_told_or_not(process: Process) -> None:
    assert process.predict("colour", RED + bytes(4_000_000 - len(RED))).status_code == 200
    words = _refusal(process.predict("colour", bytes(4_000_001)), "too_large")
    assert "at most 4,000,000" in words
    chunks = (bytes(50_000) for _ in range(81))
    answer = process.client.post("/models/colour/predict", content=chunks)
    assert "at most 4,000,000" in _refusal(answer, "too_large")


def test_a_body_that_is_told_to_be_too_large_is_refused_before_it_comes(process: Process) -> None:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.settimeout(10)
        asker.connect(str(process.socket))
        asker.sendall(b"POST /models/colour/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n")
        assert asker.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_an_unknown_model_and_an_unknown_route_are_not_found(process: Process) -> None:
    assert "no model 'nobody'" in _refusal(process.predict("nobody", RED), "not_found")
    _refusal(process.client.get("/nowhere"), "not_found")
    assert process.client.get("/models/colour/predict").status_code == 405


def test_loaded_models_are_listed_and_can_be_evicted(process: Process) -> None:
    process.predict("convolution", RED)
    process.predict("colour", RED)
    first, second = process.client.get("/models").json()["items"]
    assert (first["id"], second["id"]) == ("colour", "convolution")
    assert first["memory_bytes"] > 0 and first["num_users"] == 0
    assert first["backend"].startswith(("onnxruntime-", "openvino-"))
    assert 0 <= first["idle_seconds"] < second["idle_seconds"] < 60
    assert [process.client.delete("/models/colour").status_code for _ in range(2)] == [204, 204]
    assert [model["id"] for model in process.client.get("/models").json()["items"]] == ["convolution"]


def test_a_model_whose_file_is_corrupt_is_refused_and_others_still_answer(
    shared: tuple[Web, Process],
) -> None:
    web, process = shared
    network = colour_network(size=SIZE) + b"\x00\x00"
    web.add("rotten", archive_of(network))
    web.blobs[sha256(network)] = network[:-1]
    assert "'model.onnx' is corrupt" in _refusal(process.predict("rotten", RED), "internal_error")
    assert process.predict("colour", RED).status_code == 200


def test_a_model_whose_classes_do_not_fit_its_network_is_refused(shared: tuple[Web, Process]) -> None:
    web, process = shared
    web.add("odd", archive_of(colour_network(), labels=("red", "green")))
    words = _refusal(process.predict("odd", RED), "invalid_input")
    assert "names 2 classes, but its network answers 3" in words


def test_a_model_that_answers_with_no_numbers_is_refused(shared: tuple[Web, Process]) -> None:
    web, process = shared
    web.add("diverged", archive_of(convolution_network(sharpness=float("nan"))))
    assert "not numbers" in _refusal(process.predict("diverged", RED), "invalid_input")


def test_many_first_requests_load_a_model_once_and_all_are_answered(shared: tuple[Web, Process]) -> None:
    web, process = shared
    web.add("new", archive_of(colour_network()))
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    with ThreadPoolExecutor(32) as pool:
        files = [picture_of(colours[index % 3]) for index in range(32)]
        answers = list(pool.map(lambda file: process.predict("new", file), files))
    best = [answer.json()["predictions"][0]["label"] for answer in answers]
    assert best == [("red", "green", "blue")[index % 3] for index in range(32)]
    assert web.asked["new"] == 1


def test_more_requests_than_can_wait_are_told_to_come_again_and_the_others_are_answered(
    shared: tuple[Web, Process],
) -> None:
    web, process = shared
    web.add("slow", archive_of(colour_network()))
    web.gate.clear()
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        waiting = [pool.submit(process.predict, "slow", RED) for _ in range(MAX_WAITING)]
        process.wait_until_waiting(MAX_WAITING)
        refused = process.predict("colour", RED + bytes(3_900_000))
        assert f"{MAX_WAITING} requests wait" in _refusal(refused, "unavailable")
        assert refused.headers["retry-after"] == "1"
        web.gate.set()
        assert {future.result().status_code for future in waiting} == {200}
    assert process.predict("colour", RED).status_code == 200


def test_clients_that_leave_in_the_middle_hold_nothing_back(process: Process) -> None:
    half = b"POST /models/colour/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + RED[:50]
    whole = b"POST /models/colour/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(RED) + RED
    for request in (half, whole) * 20:
        with socket.socket(socket.AF_UNIX) as leaver:
            leaver.connect(str(process.socket))
            leaver.sendall(request)
    process.wait_until_waiting(0)
    assert process.predict("colour", RED).status_code == 200


def test_a_stop_answers_the_requests_that_run_and_leaves_no_socket(web: Web, start: Start) -> None:
    process = start()
    web.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(process.predict, "colour", RED)
        process.wait_until_waiting(1)
        process.child.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.child.wait(0.3)
        web.gate.set()
        assert running.result().status_code == 200
    assert process.child.wait(10) == 0
    assert not process.socket.exists()


def test_the_socket_is_for_its_user_alone_and_a_dead_ones_is_replaced(start: Start) -> None:
    first = start()
    assert first.socket.stat().st_mode & 0o777 == 0o600
    first.child.kill()
    first.child.wait()
    assert first.socket.exists()
    second = start()
    assert second.predict("colour", RED).status_code == 200
    second.child.send_signal(signal.SIGINT)
    assert second.child.wait(10) == 0


def test_a_second_model_server_on_the_same_socket_does_not_start(process: Process) -> None:
    with pytest.raises(StartRefused, match="Another model server listens"):
        run(url="http://127.0.0.1:9", token="t", socket_path=process.socket)
    assert process.predict("colour", RED).status_code == 200


def test_a_socket_path_that_is_too_long_or_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="longer than 100 bytes"):
        run(url="http://127.0.0.1:9", token="t", socket_path=tmp_path / ("a" * 100))
    (tmp_path / "file").touch()
    with pytest.raises(StartRefused, match="cannot listen on"):
        run(url="http://127.0.0.1:9", token="t", socket_path=tmp_path / "file" / "s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_on_a_port_only_who_bears_the_secret_is_served(start: Start, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 40 + "\n")
    process = start("--secret-file", str(secret), port=_free_port())
    for wrong in ({}, {"Authorization": "Bearer " + "s" * 39}, {"Authorization": "s" * 40}):
        process.client.headers = wrong
        _refusal(process.predict("colour", RED), "not_signed_in")
        _refusal(process.client.get("/models"), "not_signed_in")
        _refusal(process.client.delete("/models/colour"), "not_signed_in")
    assert process.client.get("/health").status_code == 200
    process.client.headers = {"Authorization": "Bearer " + "s" * 40}
    assert process.predict("colour", RED).status_code == 200


def test_a_port_without_a_long_secret_or_in_use_stops_the_start() -> None:
    with pytest.raises(StartRefused, match="needs at least 32"):
        run(url="http://127.0.0.1:9", token="t", port=_free_port(), secret="short")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartRefused, match="in use"):
        run(url="http://127.0.0.1:9", token="t", port=taken.getsockname()[1], secret="s" * 40)


def test_no_torch_no_django_and_no_client_of_a_database_is_loaded_with_a_model() -> None:
    code = (
        "import sys, trainshed.serving.main\n"
        "from trainshed.serving.choice import choose\n"
        "choose(sys.stdin.buffer.read(), 16, 'openvino')\n"
        "print([name for name in ('torch', 'django', 'onnx', 'pynvml', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=convolution_network(), capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "[]", done.stderr.decode()


def test_a_crash_would_write_no_core(process: Process) -> None:
    limits = Path(f"/proc/{process.child.pid}/limits").read_text()
    assert [line.split()[4:6] for line in limits.splitlines() if "core file" in line] == [["0", "0"]]


def test_a_refused_start_is_told_in_words_without_a_traceback(web: Web, tmp_path: Path) -> None:
    process = Process(web.url, tmp_path, TRAINSHED_SERVING_BACKEND="tensorrt")
    assert process.child.wait(20) == 1
    process.close()
    words = process.log.read_text()
    assert "TRAINSHED_SERVING_BACKEND is 'tensorrt'" in words and "Traceback" not in words
