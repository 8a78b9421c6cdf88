"""A look into an ONNX file before an engine opens it: is it one file that points at nothing outside itself?

Reads the protobuf wire format itself (protobuf.dev/programming-guides/encoding), so that the model server
needs no ONNX package. What the network computes is the engine's business, not this file's.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainshed.errors import InvalidInput

# Which fields of which message hold messages that may hold tensors (field numbers of onnx.proto3).
_INSIDE = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}
_TENSOR_NAME, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION, _EXTERNAL = 8, 13, 14, 1
_DEEPEST = 64


def require_single_file(data: bytes) -> None:
    """Raise `InvalidInput` if `data` is no ONNX file, or keeps weights in another file."""
    try:
        name = _external_tensor(memoryview(data), "Model", 0)
    except (IndexError, ValueError) as fault:
        raise InvalidInput(
            f"The file is not ONNX ({fault}); a single ONNX file was expected.",
            hint="Export the network again, or upload the file again if it was cut off.",
        ) from None
    if name is not None:
        raise InvalidInput(
            f"The ONNX file keeps tensor {name!r} in another file; all weights must be inside the one file.",
            hint="Save it with `onnx.save(model, path, save_as_external_data=False)`.",
        )


def _external_tensor(message: memoryview, kind: str, depth: int) -> str | None:
    """The name of the first tensor with data outside the file, or `None`."""
    if depth > _DEEPEST:
        raise ValueError(f"nested deeper than {_DEEPEST}")
    if kind == "Tensor":
        return _name_if_external(message)
    inside = _INSIDE[kind]
    for number, value in _fields(message):
        if number in inside and isinstance(value, memoryview):
            name = _external_tensor(value, inside[number], depth + 1)
            if name is not None:
                return name
    return None


def _name_if_external(tensor: memoryview) -> str | None:
    name, is_external = "", False
    for number, value in _fields(tensor):
        if number == _TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", "replace")
        elif number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value == _EXTERNAL):
            is_external = True
    return name if is_external else None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every field of one message: its number, and its whole number or its bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            size, at = _varint(message, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"byte {at} has the unknown wire type {wire_type}")
        if at + size > len(message):
            raise ValueError(f"it ends in the middle of field {number}")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"byte {at} is in a number that does not end")
