"""From a network to one ONNX file that answers the same: uint8 pictures in, probabilities out.

torch's exporter takes seconds, nearly all of them to trace; so the traced graph of each architecture and size is
kept without its weights, and later exports only fill it. Every file is run and compared before it counts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxscript
import timm
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from trainshed.errors import TrainshedError
from trainshed.schemas import Transform
from trainshed.vision.folding import folded
from trainshed.vision.networks import Answering, Network

MAX_DIFFERENCE = 1e-3
_INPUT, _OUTPUT = "images", "probabilities"


def export(
    network: Network, backbone: str, transform: Transform, images_BHWC: NDArray[np.uint8], file: Path, *,
    cache_folder: Path,
) -> float:  # fmt: skip
    """Write `file` and return its largest difference from the network itself on `images_BHWC`.

    Raises `TrainshedError` if no export answers within `MAX_DIFFERENCE` of the network.
    """
    expected_BK = _eager(network, images_BHWC)
    # Half as many nodes to trace and to optimise.
    answering = Answering(folded(network, network.normalise(torch.from_numpy(images_BHWC)))).eval()
    template = cache_folder / "graphs" / f"{_key(answering, backbone, transform)}.onnx"
    was_kept = template.exists()
    graph = onnx.load(template) if was_kept else _trace(answering, transform.size)
    if not was_kept:
        _keep(graph, template)
    difference = _finish(graph, answering, images_BHWC, expected_BK, file)
    if was_kept and difference > MAX_DIFFERENCE:  # a graph that depends on more than its key says
        difference = _finish(_trace(answering, transform.size), answering, images_BHWC, expected_BK, file)
    if not difference <= MAX_DIFFERENCE:
        raise TrainshedError(
            f"The exported network differs from the trained one by {difference:.2g} (at most {MAX_DIFFERENCE:g} is "
            f"allowed) on {len(images_BHWC)} pictures.",
            hint=f"The backbone {backbone!r} does not export faithfully; choose another one.",
        )
    return difference


@torch.no_grad()
def _eager(network: Network, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The probabilities `(N, K)` of the network itself, which must be on the CPU."""
    answers: NDArray[np.float32] = Answering(network).eval()(torch.from_numpy(images_BHWC)).numpy()
    return answers


def _key(answering: Answering, backbone: str, transform: Transform) -> str:
    """Everything but the weights and the number of classes that shapes the graph."""
    versions = [torch.__version__, timm.__version__, onnx.__version__, onnxscript.__version__]
    shapes = [[name, list(value.shape)] for name, value in answering.network.trunk.state_dict().items()]
    body = json.dumps([1, backbone, transform.size, versions, shapes], sort_keys=True)
    return f"{backbone}-{transform.size}-{hashlib.sha256(body.encode()).hexdigest()[:16]}"


def _trace(answering: Answering, size: int) -> onnx.ModelProto:
    """The network's graph as traced: not yet optimised, so that every weight is there under its own name."""
    images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            answering, (images,), dynamo=True, optimize=False, verbose=False,
            input_names=[_INPUT], output_names=[_OUTPUT], dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )  # fmt: skip
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    del proto.graph.value_info[:]  # shapes in there would pin the number of classes
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        part.ClearField("metadata_props")  # it names source files of this machine
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _keep(graph: onnx.ModelProto, template: Path) -> None:
    """Store the graph without its large weights. Failing to is no fault: the next export is only slower."""
    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    for weight in bare.graph.initializer:
        if weight.name.startswith("network."):
            weight.ClearField("raw_data")
    part = template.with_suffix(f".{os.getpid()}.part")
    try:
        template.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(bare.SerializeToString())
        part.replace(template)
    except OSError:
        part.unlink(missing_ok=True)


def _finish(
    graph: onnx.ModelProto, answering: Answering, images_BHWC: NDArray[np.uint8],
    expected_BK: NDArray[np.float32], file: Path,
) -> float:  # fmt: skip
    """Fill the graph with the network's weights, optimise it, write it; its largest difference on the pictures."""
    tensors: dict[str, Tensor] = {**dict(answering.named_parameters()), **dict(answering.named_buffers())}
    for weight in graph.graph.initializer:
        if weight.name in tensors:
            weight.CopyFrom(numpy_helper.from_array(tensors[weight.name].detach().contiguous().numpy(), weight.name))
    _name_dimensions(graph, expected_BK.shape[1])
    with _quiet():
        optimised = onnxscript.optimizer.optimize(graph)
    del optimised.graph.value_info[:]
    _name_dimensions(optimised, expected_BK.shape[1])
    optimised.producer_name = "trainshed"
    content = optimised.SerializeToString()
    file.write_bytes(content)
    return _difference(content, images_BHWC, expected_BK)


def _name_dimensions(graph: onnx.ModelProto, num_classes: int) -> None:
    for value in (graph.graph.input[0], graph.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = num_classes


def _difference(content: bytes, images_BHWC: NDArray[np.uint8], expected_BK: NDArray[np.float32]) -> float:
    """Run the file on one picture and on all of them; infinite if it does not run or answers in another shape."""
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (one_1K,) = session.run([_OUTPUT], {_INPUT: images_BHWC[:1]})
        (all_BK,) = session.run([_OUTPUT], {_INPUT: images_BHWC})
    except (onnxruntime.capi.onnxruntime_pybind11_state.Fail, RuntimeError, ValueError):
        return float("inf")
    if all_BK.shape != expected_BK.shape or not np.isfinite(all_BK).all():
        return float("inf")
    return float(max(np.abs(all_BK - expected_BK).max(), np.abs(one_1K - expected_BK[:1]).max()))
