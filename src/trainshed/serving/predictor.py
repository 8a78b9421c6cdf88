"""Engines that run a network, behind one interface. Which one is taken, `choice` decides.

A network takes `images` uint8 `(N, size, size, 3)` and gives `probabilities` float32 `(N, num_classes)`:
normalisation and softmax are in the graph. Decoding is `pictures`' business, batching is `batching`'s.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state

from trainshed.errors import InvalidInput

Pictures = NDArray[np.uint8]
Probabilities = NDArray[np.float32]

_ONNXRUNTIME_FAULTS = tuple(
    kind for kind in vars(onnxruntime_pybind11_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)


class Predictor(Protocol):
    """A network, ready to answer. One caller at a time: the predictor spreads over the cores itself."""

    backend: str
    max_batch: int

    def predict(self, batch: Pictures) -> Probabilities:
        """From uint8 `(N, size, size, 3)` to float32 `(N, num_classes)`; N is 1 to `max_batch`."""
        ...


class OnnxRuntimePredictor:
    """ONNX Runtime: on CUDA where it can, else on all cores, in float32. The reference for the others."""

    def __init__(self, network: bytes, size: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_cores()
        options.log_severity_level = 3
        # Threads spin between two layers (7.0 -> 4.9 ms for one picture), but never between two runs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(network, options, providers=_providers())
        except _ONNXRUNTIME_FAULTS as fault:
            raise _unreadable(fault) from fault
        _require_classifier(self._session, size)
        self._input = self._session.get_inputs()[0].name
        is_on_cuda = self._session.get_providers()[0] == "CUDAExecutionProvider"
        self.backend = "onnxruntime-cuda" if is_on_cuda else "onnxruntime-cpu"
        # On a CPU larger batches are no faster and take more memory.
        self.max_batch = 32 if is_on_cuda else 8

    def predict(self, batch: Pictures) -> Probabilities:
        """From uint8 `(N, size, size, 3)` to float32 `(N, num_classes)`."""
        result: Probabilities = self._session.run(None, {self._input: batch})[0]
        return result


class OpenVinoPredictor:
    """OpenVINO on the CPU, in the number format that it finds fastest (bfloat16 where the CPU has it).

    Compiled twice, each for one picture: a lone picture takes all cores; the pictures of a batch run beside
    each other, one core each. That beats a batch of free size on all cores (390 against 250 pictures/s in
    bfloat16 on 2 cores) and never meets a new size, whose first run takes OpenVINO up to 300 ms.
    """

    max_batch = 16

    def __init__(self, network: bytes, size: int, *, precision: str = "") -> None:
        import openvino

        core, cores = openvino.Core(), num_cores()
        properties: dict[str, Any] = {"INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False}
        if precision:
            properties["INFERENCE_PRECISION_HINT"] = precision
        try:
            model = core.read_model(network)
            model.reshape([1, size, size, 3])
            lone = core.compile_model(model, "CPU", {**properties, "PERFORMANCE_HINT": "LATENCY"})
            many = core.compile_model(model, "CPU", {**properties, "NUM_STREAMS": cores})
        except RuntimeError as fault:
            raise _unreadable(fault) from fault
        self._lone = lone.create_infer_request()
        self._many = [many.create_infer_request() for _ in range(cores)]
        self._num_classes = int(lone.output(0).shape[1])
        self.backend = f"openvino-{lone.get_property('INFERENCE_PRECISION_HINT').to_string()}"

    def predict(self, batch: Pictures) -> Probabilities:
        """From uint8 `(N, size, size, 3)` to float32 `(N, num_classes)`."""
        result = np.empty((len(batch), self._num_classes), np.float32)
        if len(batch) == 1:
            result[0] = self._lone.infer([batch], share_inputs=True, share_outputs=True)[0][0]
            return result
        for index in range(len(batch) + len(self._many)):
            request, finished = self._many[index % len(self._many)], index - len(self._many)
            if 0 <= finished < len(batch):
                request.wait()
                result[finished] = request.get_output_tensor(0).data[0]
            if index < len(batch):
                request.start_async([batch[index : index + 1]], share_inputs=True)
        return result


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _providers() -> list[str]:
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in onnxruntime.get_available_providers()]


def _unreadable(fault: Exception) -> InvalidInput:
    lines = str(fault).strip().splitlines() or [type(fault).__name__]
    return InvalidInput(
        f"The network cannot be loaded: {lines[0][:300]}",
        hint="Export it again as ONNX, with standard operators only.",
    )


def _require_classifier(session: onnxruntime.InferenceSession, size: int) -> None:
    """Raise `InvalidInput` unless the network has the one input and the one output of a classifier."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) == len(outputs) == 1:
        taken, given = inputs[0], outputs[0]
        takes_pictures = taken.type == "tensor(uint8)" and taken.shape[1:] == [size, size, 3]
        gives_classes = given.type == "tensor(float)" and [type(each) for each in given.shape[1:]] == [int]
        if takes_pictures and gives_classes and not isinstance(taken.shape[0], int):
            return
    found = ", ".join(f"{item.name} {item.type} {item.shape}" for item in (*inputs, *outputs))
    raise InvalidInput(
        f"The network has {found}; expected one input uint8 (N, {size}, {size}, 3) and one output "
        "float32 (N, number of classes), N free.",
        hint="Put normalisation and softmax into the graph and leave the batch size free.",
    )
