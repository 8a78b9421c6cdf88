"""Which engine answers for a network: the fastest here, of those that give the answers of ONNX Runtime."""

from __future__ import annotations

import importlib.util
import logging
import time

import numpy as np

from trainshed.errors import InvalidInput, StartRefused
from trainshed.serving.predictor import (
    OnnxRuntimePredictor,
    OpenVinoPredictor,
    Pictures,
    Predictor,
    Probabilities,
)

BACKENDS = ("auto", "onnxruntime", "openvino")
# Another engine may differ this much from ONNX Runtime in any probability.
LARGEST_DIFFERENCE = 1e-2
# Classes that ONNX Runtime itself holds this close may change places.
TIE = 1e-3
MOST_SECONDS_OF_MEASURING = 0.5

log = logging.getLogger(__name__)


def require_backend(backend: str) -> None:
    """Raise `StartRefused` unless `backend` is `auto` or an engine that is installed."""
    if backend not in BACKENDS:
        raise StartRefused(f"TRAINSHED_SERVING_BACKEND is {backend!r}; it must be one of {', '.join(BACKENDS)}.")
    if backend == "openvino" and not _has_openvino():
        raise StartRefused(
            "TRAINSHED_SERVING_BACKEND is 'openvino', but OpenVINO is not installed here.",
            hint="Run `pip install openvino`, or set TRAINSHED_SERVING_BACKEND to `auto`.",
        )


def choose(network: bytes, size: int, backend: str = "auto") -> Predictor:
    """The engine that `backend` names; `auto` measures and takes the fastest that agrees.

    Raises `InvalidInput` if no engine can use the network, or if OpenVINO was asked for and does not agree.
    """
    reference = OnnxRuntimePredictor(network, size)
    if backend == "onnxruntime" or (backend == "auto" and reference.backend == "onnxruntime-cuda"):
        return reference
    other = _agreeing_openvino(network, size, reference)
    if backend == "openvino" and other is None:
        raise InvalidInput(
            "OpenVINO does not give the answers of ONNX Runtime for this network.",
            hint="Set TRAINSHED_SERVING_BACKEND to `auto` or `onnxruntime`.",
        )
    if other is None or backend == "openvino":
        return other or reference
    return min((reference, other), key=lambda predictor: _seconds(predictor, size))


def agrees(predictor: Predictor, pictures: Pictures, expected: Probabilities) -> bool:
    """Whether the engine answers as expected, alone and in a batch: every probability within
    `LARGEST_DIFFERENCE`, and the same best class, ties aside.
    """
    alone = np.concatenate([predictor.predict(picture[None]) for picture in pictures])
    return all(_is_same(answer, expected) for answer in (alone, predictor.predict(pictures)))


def probe(size: int, count: int = 8) -> Pictures:
    """Pictures uint8 `(count, size, size, 3)`, from one colour to fine noise, to try an engine on."""
    generator = np.random.default_rng(0)
    pictures = []
    for cells in (1, 2, 4, 8, 16, 32, 64, size):
        coarse = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        places = np.arange(size) * cells // size
        pictures.append(coarse[places][:, places])
    return np.resize(np.stack(pictures), (count, size, size, 3))


def _is_same(answer: Probabilities, expected: Probabilities) -> bool:
    if not np.isfinite(answer).all() or np.abs(answer - expected).max() >= LARGEST_DIFFERENCE:
        return False
    chosen = np.take_along_axis(expected, answer.argmax(1, keepdims=True), 1)[:, 0]
    return bool((expected.max(1) - chosen <= TIE).all())


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _agreeing_openvino(network: bytes, size: int, reference: Predictor) -> Predictor | None:
    """OpenVINO in its own number format, else in float32, else nothing: the first that agrees."""
    if not _has_openvino():
        return None
    pictures = probe(size)
    expected = reference.predict(pictures)
    for precision in ("", "f32"):
        try:
            predictor = OpenVinoPredictor(network, size, precision=precision)
        except InvalidInput as refusal:
            log.info("OpenVINO cannot use the network: %s", refusal.message)
            return None
        if agrees(predictor, pictures, expected):
            return predictor
        log.info("%s does not give the answers of ONNX Runtime", predictor.backend)
    return None


def _seconds(predictor: Predictor, size: int) -> float:
    """The time of one lone picture and one batch of eight, the best of a few: both are waited for."""
    pictures = probe(size)
    best, first = float("inf"), time.perf_counter()
    for _ in range(6):
        started = time.perf_counter()
        predictor.predict(pictures[:1])
        predictor.predict(pictures)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() - first > MOST_SECONDS_OF_MEASURING:
            break
    log.info("%s: %.1f ms for one picture and a batch of eight", predictor.backend, best * 1e3)
    return best
