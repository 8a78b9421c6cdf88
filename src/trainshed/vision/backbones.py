"""Backbones by name: `scratch-cnn`, or any timm backbone, with its transform and its first weights."""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import timm
from torch import nn

from trainshed.errors import InvalidInput, WeightsUnavailable
from trainshed.schemas import ClassificationRecipe, ManifestRow, Transform
from trainshed.vision import weights
from trainshed.vision.networks import Network, scratch_trunk
from trainshed.vision.weights import Origin

SCRATCH = "scratch-cnn"
WeightsChoice = Literal["auto", "package", "hub", "none"]


@dataclass(frozen=True)
class Backbone:
    """A network ready to train, how pictures get into it, and where its weights came from."""

    network: Network
    transform: Transform
    origin: Origin


def build(recipe: ClassificationRecipe, num_classes: int, rows: Sequence[ManifestRow]) -> Backbone:
    """The recipe's backbone with a new head of `num_classes`. The caller seeds torch before.

    Raises `InvalidInput` for an unknown backbone, `WeightsUnavailable` when its weights cannot be had.
    """
    if recipe.backbone == SCRATCH:
        transform = Transform(size=recipe.image_size or _scratch_size(rows), resize=recipe.resize)
        trunk, num_features = scratch_trunk()
        network = Network(trunk, num_features, num_classes, transform=transform, dropout=recipe.dropout)
        return Backbone(network, transform, Origin("none"))
    transform = timm_transform(recipe.backbone, recipe.image_size, recipe.resize)
    model, origin = _timm_model(recipe.backbone, recipe.weights, transform.size)
    num_features = model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features
    model.reset_classifier(0)
    network = Network(model, num_features, num_classes, transform=transform, dropout=recipe.dropout)
    return Backbone(network, transform, origin)


def build_imagenet(backbone: str, choice: WeightsChoice = "auto") -> Backbone:
    """A backbone with its own ImageNet head of 1,000 classes. Raises as `build`."""
    transform = timm_transform(backbone, None, "squash")
    model, origin = _timm_model(backbone, choice, transform.size)
    classifier = model.get_classifier()
    if not origin.is_pretrained or not isinstance(classifier, nn.Linear) or classifier.out_features != 1000:
        raise InvalidInput(
            f"The backbone {backbone!r} has no ImageNet head of 1,000 classes that could be used as it is.",
            hint=f"Try `{weights.shipped_backbones()[0] if weights.shipped_backbones() else 'resnet18'}`.",
        )
    model.reset_classifier(0)
    network = Network(model, classifier.in_features, 1000, transform=transform, dropout=0.0)
    network.head.load_state_dict(classifier.state_dict())
    return Backbone(network.eval(), transform, origin)


def timm_transform(backbone: str, image_size: int | None, resize: Any) -> Transform:
    """The transform that a timm backbone was made for; `image_size` overrides its size."""
    cfg = _config(backbone)
    interpolation = cfg.interpolation if cfg.interpolation in ("bilinear", "bicubic") else "bilinear"
    return Transform(
        size=image_size or cfg.input_size[-1], resize=resize, interpolation=interpolation, mean=cfg.mean, std=cfg.std
    )


def _config(backbone: str) -> Any:
    if not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, [SCRATCH, *timm.list_models()], n=3)
        raise InvalidInput(
            f"There is no backbone {backbone!r}.",
            hint=f"Did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else "Any name of timm works.",
        )
    return timm.get_pretrained_cfg(backbone) or timm.models.PretrainedCfg(input_size=(3, 224, 224))


def _timm_model(backbone: str, choice: WeightsChoice, size: int) -> tuple[Any, Origin]:
    """A timm model with its original classifier, filled from where `choice` says."""
    cfg = _config(backbone)
    sized: dict[str, Any] = {"img_size": size} if cfg.fixed_input_size and size != cfg.input_size[-1] else {}
    if choice == "none":
        return timm.create_model(backbone, pretrained=False, **sized), Origin("none")
    if choice == "package" or (choice == "auto" and weights.shipped_file(backbone)):
        model = timm.create_model(backbone, pretrained=False, **sized)
        return model, weights.load_shipped(model, backbone)
    if not cfg.has_weights:
        raise WeightsUnavailable(f"timm knows no pretrained weights for {backbone!r}.", hint="Set weights to `none`.")
    overlay = weights.hub_overlay(backbone, cfg)
    try:
        model = timm.create_model(backbone, pretrained=True, pretrained_cfg_overlay=overlay, **sized)
    except (OSError, ImportError, RuntimeError) as exc:  # what timm and the hub raise for a network that fails
        raise weights.unreachable(backbone, exc) from exc
    return model, Origin(f"hub {cfg.hf_hub_id or cfg.url}", cfg.license or "")


def _scratch_size(rows: Sequence[ManifestRow]) -> int:
    """32 for tiny pictures, 64 for small ones, else 96: by the median of the longer sides."""
    longer = statistics.median([max(row.width, row.height) for row in rows] or [32])
    return 32 if longer <= 48 else 64 if longer <= 96 else 96
