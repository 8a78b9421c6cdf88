"""Training a classifier, from a manifest to a model archive: frozen features, fine-tuning, the better kept.

The gradient steps are in `loop`, the solver of the last layer in `features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainshed import pictures
from trainshed.errors import DatasetUnfit
from trainshed.schemas import ClassificationRecipe, ImageClass, ManifestRow, ModelSummary
from trainshed.vision import archive, backbones, card, checkpoints, evaluation, features, loop
from trainshed.vision.archive import TrainedModel
from trainshed.vision.cache import Blob, open_pictures
from trainshed.vision.checkpoints import Saver
from trainshed.vision.devices import choose_device, choose_precision
from trainshed.vision.evaluation import Scores
from trainshed.vision.examples import Examples, examples_of, joined
from trainshed.vision.features import Head
from trainshed.vision.loop import Candidate, Run
from trainshed.vision.networks import num_parameters
from trainshed.vision.story import Progress, Story, log

_PROOF_PICTURES = 8
# What earlier phases found, carried from checkpoint to checkpoint.
_KEPT = ("seconds", "step", "frozen", "tuned", "last", "history", "precision")


def train(
    rows: Sequence[ManifestRow], classes: Sequence[ImageClass], recipe: ClassificationRecipe, *,
    blob: Blob, cache_folder: Path, story: Story, name: str = "",
) -> TrainedModel:  # fmt: skip
    """Train on the rows of split `train`, choose by `validation`, report on `test`.

    `blob` gives the file of a sha256. The classes' order is that of the network's answers. Goes on from the
    story's checkpoint if it has one. Raises `DatasetUnfit`, `InvalidInput`, `WeightsUnavailable`,
    `PictureRefused`, `TrainingDiverged`, and `JobStopped` after saving a checkpoint.
    """
    check_dataset(rows, classes)
    return _Training(rows, classes, recipe, blob, cache_folder, story, name).run()


def check_dataset(rows: Sequence[ManifestRow], classes: Sequence[ImageClass]) -> None:
    """Raise `DatasetUnfit` unless two classes have training pictures."""
    unknown = {row.class_id for row in rows} - {item.id for item in classes}
    if unknown:
        raise DatasetUnfit(f"The manifest names classes that are not listed: {', '.join(sorted(unknown))}.")
    present = {row.class_id for row in rows if row.split == "train"}
    if len(present) < 2:
        names = ", ".join(repr(item.name) for item in classes if item.id in present) or "none"
        raise DatasetUnfit(
            f"A classifier needs training pictures of at least two classes; this version has them of: {names}.",
            hint="Add a folder of pictures for another class, or give the training split a larger share.",
        )


class _Training:
    """The stages of one training, in the order of `run`."""

    def __init__(
        self, rows: Sequence[ManifestRow], classes: Sequence[ImageClass], recipe: ClassificationRecipe,
        blob: Blob, cache_folder: Path, story: Story, name: str,
    ) -> None:  # fmt: skip
        self.rows, self.classes, self.recipe = rows, list(classes), recipe
        self.story, self.cache_folder, self.name = story, cache_folder, name or recipe.backbone
        self.device = choose_device(recipe)
        fingerprint = checkpoints.fingerprint(rows, classes, recipe)
        self.saved = checkpoints.read(story.checkpoint, fingerprint) if story.checkpoint else {}
        kept = {key: self.saved[key] for key in _KEPT if key in self.saved}
        kept["fingerprint"] = fingerprint
        self.saver = Saver(story, recipe.checkpoint_seconds, kept, self.saved.get("phase", "decoding"))
        torch.manual_seed(recipe.seed)
        self.backbone = backbones.build(recipe, len(classes), rows)
        self.network = self.backbone.network.to(self.device).to(memory_format=torch.channels_last)
        self.is_pretrained = self.backbone.origin.is_pretrained
        self.pictures = open_pictures(
            rows, self.backbone.transform, blob=blob, cache_folder=cache_folder, story=story,
            # Until the pictures are there, what an earlier attempt reached is what there is to save.
            go_on=lambda: self.saver.stop_if_asked(lambda: self.saved.get("state", {}), 0),
        )  # fmt: skip
        self.examples = {
            split: examples_of(split, rows, classes, self.pictures) for split in ("train", "validation", "test")
        }
        self.class_weights_K = loop.class_weights(self.examples["train"].labels_N, len(classes))

    def run(self) -> TrainedModel:
        head = self.frozen_head() if self.wants_frozen() else None
        if head:
            _put(self.network.head, head)
        tuned = self.fine_tuned(head) if self.wants_tuning(head) else None
        kept = choose(head, tuned)
        if kept == "fine-tuned" and tuned:
            self.network.load_state_dict(tuned.state)
        return self.publish(kept, head, tuned)

    def wants_frozen(self) -> bool:
        return self.recipe.epochs == 0 or (self.recipe.frozen_first and self.is_pretrained)

    def wants_tuning(self, head: Head | None) -> bool:
        """Whether fine-tuning could change the choice: it must beat the frozen features, and be seen to."""
        if self.recipe.epochs == 0 or head is None:
            return self.recipe.epochs > 0
        if head.scores is None:
            log(self.story, "There is no validation split to tell whether fine-tuning helps; the last layer on "
                            "frozen features is kept.", "warning")  # fmt: skip
        elif head.scores.accuracy == 1.0:
            log(self.story, "The last layer on frozen features names every validation picture right; fine-tuning "
                            "could not be better and is left out.")  # fmt: skip
        return head.scores is not None and head.scores.accuracy < 1.0

    def frozen_head(self) -> Head:
        """The last layer, solved for on frozen features; from the checkpoint if it is there."""
        if "frozen" in self.saver.kept:
            return Head.unpacked(self.saver.kept["frozen"])
        train, validation = self.examples["train"], self.examples["validation"]
        features_NF = self.features(joined(train, validation))
        head = features.solve(
            features_NF[: len(train)], torch.from_numpy(train.labels_N),
            features_NF[len(train) :], torch.from_numpy(validation.labels_N), self.class_weights_K,
        )  # fmt: skip
        if head.scores:
            values = {"validation_accuracy": head.scores.accuracy, "validation_loss": head.scores.log_loss}
            self.story.say("metric", {"step": 0, "epoch": 0, "values": values})
        self.saver.kept["frozen"] = head.packed()
        self.saver.phase = "frozen"
        return head

    def features(self, examples: Examples) -> torch.Tensor:
        """Features `(N, F)` of the pictures; the first ones from the checkpoint, if it has any."""
        self.saver.phase = "features"
        known_MF = self.saved["state"].get("features") if self.saved.get("phase") == "features" else None
        num_known = 0 if known_MF is None else len(known_MF)
        progress = Progress(self.story, "features", len(examples), done=num_known, unit="pictures")

        def reached(parts: list[torch.Tensor]) -> None:
            progress.reached(sum(map(len, parts)))
            self.saver.save_if_due(lambda: {"features": torch.cat(parts)}, 0)

        return features.extract(self.network, examples, self.device, known_MF=known_MF, reached=reached)

    def fine_tuned(self, head: Head | None) -> Candidate:
        """The best weights of the gradient steps; from the checkpoint if they are there."""
        if "tuned" not in self.saver.kept:
            if head and self.saver.phase == "frozen":
                self.saver.save(dict, 0)
            self.saver.phase = "fine-tuning"
            run = Run(
                self.network, self.examples["train"], self.examples["validation"], self.recipe,
                class_weights_K=self.class_weights_K, is_pretrained=self.is_pretrained,
                precision=self.precision(), device=self.device, story=self.story, saver=self.saver,
            )  # fmt: skip
            if self.saved.get("phase") == "fine-tuning":
                run.restore(self.saved["state"])
            best, last = loop.fine_tune(run)
            self.saver.kept |= {"tuned": best.packed(), "last": last.packed(), "history": run.history}
            self.saver.phase = "tuned"
            self.saver.save(dict, run.step)
        return Candidate.unpacked(self.saver.kept["tuned"])

    def precision(self) -> str:
        """The number format; what an earlier attempt measured on the same kind of device is not measured again."""
        device, precision = self.saver.kept.get("precision", ["", ""])
        if device != self.device.type:
            batch = next(self.examples["train"].shuffled(self.recipe.seed, 0, self.num_batches()))
            labels_B = batch.labels_B.to(self.device)
            weights_K = self.class_weights_K.to(self.device)
            precision = choose_precision(
                self.recipe, self.network, self.network.normalise(batch.images_BHWC.to(self.device)),
                lambda logits_BK: loop.loss_of(logits_BK, labels_B, self.recipe, weights_K),
                self.recipe.epochs * self.num_batches(),
            )  # fmt: skip
            self.saver.kept["precision"] = [self.device.type, precision]
        return str(precision)

    def num_batches(self) -> int:
        return loop.num_batches(self.examples["train"], self.recipe)

    def publish(self, kept: str, head: Head | None, tuned: Candidate | None) -> TrainedModel:
        """Report on the test split, then write the archive."""
        progress = Progress(self.story, "finishing", 2, unit="files")
        logits_NK = evaluation.answer(self.network, self.examples["test"], self.device)
        metrics = self.metrics(logits_NK, kept, head, tuned)
        progress.reached(1)
        self.saver.save_if_due(dict, 0)
        network = self.network.cpu()
        summary = ModelSummary(
            name=self.name, backbone=self.recipe.backbone, classes=self.classes, transform=self.backbone.transform,
            metrics=metrics, num_parameters=num_parameters(network), seconds=round(self.saver.seconds(), 3),
        )  # fmt: skip
        text = card.of_training(summary, self.recipe, self.backbone.origin, self.lineage())
        folder = self.story.work_folder / "model"
        proof = self.proof_pictures()
        files = archive.write(network, summary, text, proof, folder=folder, cache_folder=self.cache_folder)
        if "last" in self.saver.kept:
            last = Candidate.unpacked(self.saver.kept["last"])
            files["last.safetensors"] = archive.write_weights(
                folder / "last.safetensors", last.state, self.recipe.backbone
            )
        progress.reached(2)
        return TrainedModel(summary, files)

    def metrics(self, logits_NK: torch.Tensor, kept: str, head: Head | None, tuned: Candidate | None) -> dict[str, Any]:
        chosen = head.scores if kept == "frozen" and head else tuned.scores if tuned else None
        test, train = self.examples["test"], self.examples["train"]
        return {
            **evaluation.report(logits_NK, test.labels_N, self.classes, train.labels_N),
            "num_train": len(train),
            "num_validation": len(self.examples["validation"]),
            "validation_accuracy": chosen.accuracy if chosen else None,
            "validation_log_loss": chosen.log_loss if chosen else None,
            "kept": kept,
            "history": self.saver.kept.get("history", []),
            "stages": {
                "frozen": _told(head.scores) if head else None,
                "fine-tuned": {**_told(tuned.scores), "epoch": tuned.epoch} if tuned else None,
            },
        }

    def lineage(self) -> dict[str, Any]:
        sizes = ", ".join(f"{len(examples)} {split}" for split, examples in self.examples.items())
        device, precision = self.saver.kept.get("precision", [self.device.type, "float32"])
        return {
            "digest of the pictures": f"`{pictures.manifest.digest(self.rows)}`",
            "pictures": f"{len(self.rows)} ({sizes})",
            "trained on": f"{device}, {precision}, PyTorch {torch.__version__}",
            "working time": f"{self.saver.seconds():.0f} s",
        }

    def proof_pictures(self) -> NDArray[np.uint8]:
        """A few real pictures on which the exported file must agree: `(N, S, S, 3)`."""
        for split in ("validation", "test", "train"):
            examples = self.examples[split]
            if len(examples):
                break
        spread = np.linspace(0, len(examples) - 1, min(_PROOF_PICTURES, len(examples))).astype(np.int64)
        return examples.pictures.take(examples.places_N[spread])


def choose(head: Head | None, tuned: Candidate | None) -> str:
    """`frozen` or `fine-tuned`, whichever names more validation pictures right; frozen when they are even."""
    if tuned is None:
        return "frozen"
    if head is None or head.scores is None or tuned.scores is None:
        return "fine-tuned"
    return "fine-tuned" if tuned.scores.accuracy > head.scores.accuracy else "frozen"


def _put(layer: torch.nn.Linear, head: Head) -> None:
    with torch.no_grad():
        layer.weight.copy_(head.weight_KF)
        layer.bias.copy_(head.bias_K)


def _told(scores: Scores | None) -> dict[str, float | None]:
    return {
        "validation_accuracy": scores.accuracy if scores else None,
        "validation_log_loss": scores.log_loss if scores else None,
    }
