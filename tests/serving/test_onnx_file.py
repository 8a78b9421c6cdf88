"""A single ONNX file is taken; one that points outside itself, or is none, is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trainshed.errors import InvalidInput
from trainshed.serving.onnx_file import require_single_file

from .material import colour_network, convolution_network


@pytest.mark.parametrize("network", [colour_network(), convolution_network()])
def test_a_network_in_one_file_is_taken(network: bytes) -> None:
    require_single_file(network)


def test_a_network_with_weights_in_another_file_is_refused_by_the_tensors_name(tmp_path: Path) -> None:
    model = onnx.load_from_string(convolution_network())
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(InvalidInput, match="'(scale|kernel|linear)' in another file"):
        require_single_file((tmp_path / "m.onnx").read_bytes())


def _external(name: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def test_external_weights_are_found_in_the_branch_of_a_condition_and_in_an_attribute() -> None:
    branch = helper.make_graph([], "branch", [], [], [_external("hidden")])
    inside_branch = helper.make_node("If", ["yes"], ["out"], then_branch=branch, else_branch=branch)
    inside_attribute = helper.make_node("Constant", [], ["out"], value=_external("hidden"))
    for node in (inside_branch, inside_attribute):
        graph = helper.make_graph([node], "network", [], [])
        with pytest.raises(InvalidInput, match="'hidden' in another file"):
            require_single_file(helper.make_model(graph).SerializeToString())


def test_external_weights_are_found_in_a_function_of_the_model() -> None:
    node = helper.make_node("Constant", [], ["out"], value=_external("hidden"))
    function = helper.make_function("own", "f", [], ["out"], [node], [helper.make_opsetid("", 17)])
    model = helper.make_model(helper.make_graph([], "network", [], []), functions=[function])
    with pytest.raises(InvalidInput, match="'hidden' in another file"):
        require_single_file(model.SerializeToString())


@pytest.mark.parametrize("data", [b"\xff" * 40, b"PK\x03\x04 a zip", convolution_network()[:-7]])
def test_a_file_that_is_not_onnx_or_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not ONNX"):
        require_single_file(data)


def test_a_graph_nested_without_end_is_refused() -> None:
    message = b""
    for _ in range(40):
        for field in (6, 5, 1):  # a graph in an attribute in a node in a graph
            message = _wrapped(field, message)
    with pytest.raises(InvalidInput, match="nested deeper"):
        require_single_file(_wrapped(7, message))


def _wrapped(field: int, message: bytes) -> bytes:
    """The bytes as one field of an outer protobuf message."""
    size = len(message)
    return bytes([field << 3 | 2, size & 0x7F | 0x80, size >> 7 & 0x7F]) + message
