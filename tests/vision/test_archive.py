from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from trainshed import pictures
from trainshed.errors import TrainshedError
from trainshed.schemas import ARCHIVE_FILES, ImageClass
from trainshed.vision import archive, backbones, exporting, pretrained
from trainshed.vision.classification import train
from trainshed.vision.networks import Answering

from .material import DIGITS_RECIPE, NO_CHANGES, digits, photo_crops


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cache_folder):
    from trainshed.vision.story import SilentStory

    from .material import Shelf

    shelf = Shelf(tmp_path_factory.mktemp("originals"))
    rows, _ = digits(shelf, 60, num_classes=3)
    names = [ImageClass(id=str(n), name=name) for n, name in enumerate(["零", "one | two 🐱", "<b>three</b>"])]
    recipe = DIGITS_RECIPE.model_copy(update={"epochs": 1, "augmentation": NO_CHANGES})
    story = SilentStory(tmp_path_factory.mktemp("work"))
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story, name="Zahlen 数字")
    return model, rows, shelf


def test_an_archive_has_its_five_files_and_the_last_weights(trained):
    model, _, _ = trained
    assert set(model.files) == {*ARCHIVE_FILES, "last.safetensors"}
    assert all(file.name == name and file.stat().st_size for name, file in model.files.items())


def test_classes_and_transform_are_read_back_as_they_were(trained):
    model, _, _ = trained
    folder = model.files["card.md"].parent
    assert archive.read_classes(folder) == model.summary.classes
    assert archive.read_transform(folder) == model.summary.transform
    assert json.loads(model.files["classes.json"].read_text())["classes"][0]["name"] == "零"


def test_onnx_runtime_answers_originals_as_the_network_does(trained, cache_folder):
    model, rows, shelf = trained
    transform = archive.read_transform(model.files["card.md"].parent)
    images = np.stack([pictures.load(shelf.blob(row.sha256).read_bytes(), transform) for row in rows[:20]])
    session = onnxruntime.InferenceSession(model.files["model.onnx"])
    (probabilities,) = session.run(["probabilities"], {"images": images})
    network = backbones.build(DIGITS_RECIPE, 3, rows).network.eval()
    network.load_state_dict(load_file(model.files["model.safetensors"]))
    with torch.no_grad():
        expected = Answering(network)(torch.from_numpy(images)).numpy()
    assert np.abs(probabilities - expected).max() < 1e-4
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_onnx_file_says_what_goes_in_and_out(trained):
    model, _, _ = trained
    graph = onnx.load(model.files["model.onnx"]).graph
    onnx.checker.check_model(model.files["model.onnx"], full_check=True)
    (images,), (probabilities,) = graph.input, graph.output
    assert images.name == "images" and images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim] == ["N", 16, 16, 3]
    assert probabilities.name == "probabilities"
    assert [d.dim_param or d.dim_value for d in probabilities.type.tensor_type.shape.dim] == ["N", 3]
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)


def test_the_onnx_file_tells_nothing_of_the_machine_that_made_it(trained):
    content = trained[0].files["model.onnx"].read_bytes()
    assert b"site-packages" not in content and b".py" not in content


def test_the_card_tells_lineage_figures_licence_and_limits(trained):
    model, rows, _ = trained
    card = model.files["card.md"].read_text()
    for part in ("# Zahlen 数字", pictures.manifest.digest(rows), "42 train, 9 validation, 9 test"):
        assert part in card
    for part in ("| 零 |", "one / two 🐱", "&lt;b>three", '"backbone": "scratch-cnn"', "Fewer than ten test"):
        assert part in card


def test_a_kept_graph_serves_any_number_of_classes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    for num_classes in (3, 11):
        ready = backbones.build(DIGITS_RECIPE, num_classes, [])
        file = tmp_path / f"{num_classes}.onnx"
        difference = exporting.export(
            ready.network, "scratch-cnn", ready.transform, images, file, cache_folder=tmp_path
        )
        assert difference < 1e-5
        (answers,) = onnxruntime.InferenceSession(file).run(None, {"images": images})
        assert answers.shape == (3, num_classes)
    (template,) = (tmp_path / "graphs").iterdir()
    assert template.stat().st_size < 60_000  # the graph without its 158,000 weights


def test_a_kept_graph_that_no_longer_fits_is_traced_anew(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    ready = backbones.build(DIGITS_RECIPE, 4, [])
    arguments = (ready.network, "scratch-cnn", ready.transform, images, tmp_path / "model.onnx")
    exporting.export(*arguments, cache_folder=tmp_path)
    (template,) = (tmp_path / "graphs").iterdir()
    graph = onnx.load(template)
    for node in graph.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Neg"
    onnx.save(graph, template)
    assert exporting.export(*arguments, cache_folder=tmp_path) < 1e-5


def test_a_network_that_does_not_export_faithfully_is_refused(tmp_path):
    class Moody(torch.nn.Module):
        """Answers otherwise once it is being traced."""

        def forward(self, images_BCHW):
            return images_BCHW.mean(dim=(2, 3)) * (5.0 if torch.compiler.is_exporting() else 1.0)

    ready = backbones.build(DIGITS_RECIPE, 4, [])
    ready.network.trunk, ready.network.head = Moody(), torch.nn.Linear(3, 4)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(TrainshedError, match="differs from the trained one by"):
        exporting.export(
            ready.network, "moody", ready.transform, images, tmp_path / "model.onnx", cache_folder=tmp_path
        )


def test_a_published_network_stands_on_the_shelf_and_says_that_nothing_was_measured(story, cache_folder, shelf):
    model = pretrained.build("tf_efficientnet_lite0", cache_folder=cache_folder, story=story)
    assert set(model.files) == set(ARCHIVE_FILES)
    assert model.summary.metrics["accuracy"] is None
    assert "Nothing was measured here" in model.files["card.md"].read_text()
    assert "Apache-2.0" in model.files["card.md"].read_text()
    rows, _ = photo_crops(shelf, 4, ("chelsea", "coffee"))
    photos = [pictures.load(shelf.blob(row.sha256).read_bytes(), model.summary.transform) for row in rows]
    session = onnxruntime.InferenceSession(model.files["model.onnx"])
    (probabilities,) = session.run(None, {"images": np.stack(photos)})
    named = [model.summary.classes[label].name for label in probabilities.argmax(axis=1)]
    assert any("cat" in name or "tabby" in name for name in named[:4])
    assert any(name in ("espresso", "cup", "coffee mug") for name in named[4:])
