"""Getting a process ready before it has work: the imports and first calls that cost seconds."""

from __future__ import annotations


def prepare() -> None:
    """Import what training and export need, and run one tiny step forward and back."""
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch
    import torch._dynamo  # slow, and the exporter needs it
    import torch.onnx

    from trainshed import pictures
    from trainshed.schemas import Transform
    from trainshed.vision import classification, pretrained  # noqa: F401
    from trainshed.vision.networks import Network, scratch_trunk

    _ = pictures.load, pictures.manifest  # imported when they are first named
    trunk, num_features = scratch_trunk(4)
    network = Network(trunk, num_features, 2, transform=Transform(size=16), dropout=0.0)
    logits_BK = network(network.normalise(torch.zeros(2, 16, 16, 3, dtype=torch.uint8)))
    torch.nn.functional.cross_entropy(logits_BK, torch.tensor([0, 1])).backward()
    torch.optim.AdamW(network.parameters(), fused=True).step()
