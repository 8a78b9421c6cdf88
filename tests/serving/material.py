"""Small real networks and pictures for the tests of the model server."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIZE = 16


def network_of(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], *, num_classes: int = 3, size: int = SIZE
) -> bytes:
    """An ONNX file with the input and output of a classifier, as training exports it."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", num_classes])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString()


def colour_network(size: int = SIZE) -> bytes:
    """Softmax over a tenth of the mean red, green and blue: the reddest picture is class 0."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "tenth"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return network_of(nodes, {"tenth": np.array(0.1, np.float32)}, size=size)


def convolution_network(seed: int = 0, *, sharpness: float = 1.5) -> bytes:
    """A small real network: convolution, ReLU, global mean, linear layer, softmax."""
    random = np.random.default_rng(seed)
    weights = {
        "scale": np.array(1 / 255, np.float32),
        "kernel": random.normal(0, 0.5, (8, 3, 3, 3)).astype(np.float32),
        "linear": random.normal(0, sharpness, (8, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["features"], strides=[2, 2]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "linear"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return network_of(nodes, weights)


def archive_of(network: bytes, labels: tuple[str, ...] = ("red", "green", "blue")) -> dict[str, bytes]:
    """The files of a model archive that the model server reads."""
    classes = [{"id": f"id-{label}", "name": label} for label in labels]
    return {
        "model.onnx": network,
        "classes.json": json.dumps({"schema_version": 1, "classes": classes}).encode(),
        "transform.json": json.dumps({"size": SIZE}).encode(),
    }


def picture_of(colour: tuple[int, int, int], format: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format)
    return file.getvalue()


def photo(seed: int = 0) -> bytes:
    """A JPEG with many colours."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize((160, 120), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()
