"""Engines give the answers that NumPy gives, and a faster engine is only taken when it agrees."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from trainshed.errors import InvalidInput, StartRefused
from trainshed.serving.choice import agrees, choose, probe, require_backend
from trainshed.serving.predictor import OnnxRuntimePredictor, OpenVinoPredictor, Predictor

from .material import SIZE, colour_network, convolution_network, network_of


def _colour_by_numpy(pictures: np.ndarray) -> np.ndarray:
    logits = pictures.astype(np.float64).mean((1, 2)) * 0.1
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _engines(network: bytes) -> list[Predictor]:
    return [OnnxRuntimePredictor(network, SIZE), OpenVinoPredictor(network, SIZE, precision="f32")]


@pytest.mark.parametrize("num_pictures", [1, 2, 3, 8])
def test_every_engine_answers_as_numpy_does_at_every_batch_size(num_pictures: int) -> None:
    pictures = probe(SIZE)[-num_pictures:]
    for engine in _engines(colour_network()):
        answer = engine.predict(pictures)
        assert answer.dtype == np.float32 and answer.shape == (num_pictures, 3)
        np.testing.assert_allclose(answer, _colour_by_numpy(pictures), atol=1e-4, err_msg=engine.backend)


def test_a_batch_answers_in_the_order_of_its_pictures() -> None:
    pictures = np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in range(0, 256, 16)])
    pictures[..., 1:] = 128
    for engine in _engines(colour_network()):
        redness = np.concatenate([engine.predict(pictures[:8]), engine.predict(pictures[8:])])[:, 0]
        assert (np.diff(redness) >= 0).all() and redness[-1] > redness[0], engine.backend


@pytest.mark.parametrize("backend", ["auto", "onnxruntime", "openvino"])
def test_every_backend_gives_the_answers_of_onnx_runtime(backend: str) -> None:
    network = convolution_network()
    expected = OnnxRuntimePredictor(network, SIZE).predict(probe(SIZE))
    assert agrees(choose(network, SIZE, backend), probe(SIZE), expected)


def test_an_engine_that_answers_differently_does_not_agree() -> None:
    expected = OnnxRuntimePredictor(convolution_network(seed=1), SIZE).predict(probe(SIZE))
    assert not agrees(OnnxRuntimePredictor(convolution_network(seed=2), SIZE), probe(SIZE), expected)


class Swapped:
    """Answers alone as it should, but swaps the first two pictures of a batch."""

    backend, max_batch = "swapped", 8

    def __init__(self, network: bytes) -> None:
        self._right = OnnxRuntimePredictor(network, SIZE)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """The answers of ONNX Runtime, two of them swapped."""
        answer = self._right.predict(batch)
        answer[:2] = answer[:2][::-1].copy()
        return answer


def test_an_engine_that_mixes_up_a_batch_does_not_agree() -> None:
    expected = OnnxRuntimePredictor(colour_network(), SIZE).predict(probe(SIZE))
    assert not agrees(Swapped(colour_network()), probe(SIZE), expected)


class Fixed:
    """The same answer to every picture."""

    backend, max_batch = "fixed", 8

    def __init__(self, *answer: float) -> None:
        self._answer = np.array([answer], np.float32)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """The answer, once for each picture."""
        return self._answer.repeat(len(batch), 0)


@pytest.mark.parametrize(
    ("answer", "does_agree"),
    [
        ((0.504, 0.496, 0.0), True),
        ((0.510, 0.490, 0.0), True),
        ((0.520, 0.480, 0.0), False),
        ((0.496, 0.504, 0.0), False),
        ((float("nan"), 0.496, 0.0), False),
    ],
    ids=["same", "near", "far", "near, but another class is best", "not a number"],
)
def test_an_engine_agrees_if_it_is_near_and_its_best_class_is_the_same(
    answer: tuple[float, ...], does_agree: bool
) -> None:
    expected = Fixed(0.504, 0.496, 0.0).predict(probe(SIZE))
    assert agrees(Fixed(*answer), probe(SIZE), expected) is does_agree


def test_a_number_format_that_is_too_coarse_for_a_network_is_not_taken() -> None:
    # Where OpenVINO takes bfloat16, its rounding of these large sums shows behind the softmax.
    network = convolution_network(seed=2, sharpness=60)
    expected = OnnxRuntimePredictor(network, SIZE).predict(probe(SIZE))
    assert agrees(choose(network, SIZE, "openvino"), probe(SIZE), expected)


def test_a_network_without_softmax_shape_or_with_a_fixed_batch_is_refused_with_what_it_has() -> None:
    float_input = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    model = helper.make_model(float_input, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(InvalidInput, match=r"x tensor\(float\) \[1, 3, 8, 8\].*expected one input uint8"):
        choose(model.SerializeToString(), SIZE)


def test_a_network_for_another_size_than_its_transform_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\[.*16, 16, 3\].*expected one input uint8 \(N, 24, 24, 3\)"):
        choose(colour_network(), 24)


def test_a_network_of_unknown_operators_is_refused_as_invalid() -> None:
    network = network_of([helper.make_node("Abracadabra", ["images"], ["probabilities"])], {})
    with pytest.raises(InvalidInput, match="cannot be loaded: .*Abracadabra"):
        choose(network, SIZE)


def test_a_file_that_is_no_network_is_refused_as_invalid() -> None:
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        choose(b"no network", SIZE)


def test_an_unknown_backend_stops_the_start_and_names_the_known_ones() -> None:
    with pytest.raises(StartRefused, match="'tensorrt'.*auto, onnxruntime, openvino"):
        require_backend("tensorrt")
