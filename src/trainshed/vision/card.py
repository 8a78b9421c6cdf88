"""The model card: what a person must know before trusting a model, in Markdown."""

from __future__ import annotations

from typing import Any

from trainshed import __version__
from trainshed.schemas import ClassificationRecipe, ModelSummary
from trainshed.vision.weights import Origin

_MAX_CLASSES_SHOWN = 200


def of_training(summary: ModelSummary, recipe: ClassificationRecipe, origin: Origin, lineage: dict[str, Any]) -> str:
    """The card of a trained model. `lineage` says what it was made of: digest of the pictures, counts, device."""
    return "\n".join([
        f"# {_plain(summary.name)}", "",
        f"An image classifier of {len(summary.classes)} classes, trained by Trainshed {__version__}.", "",
        "## How good it is", "", *_figures(summary.metrics), "",
        "## Each class", "", *_class_table(summary.metrics["per_class"]), "",
        "## What it was made of", "", *_pairs(lineage), "",
        "## Network", "", *_pairs(_network(summary, origin)), "",
        "## Recipe", "", "```json", recipe.model_dump_json(indent=2), "```", "",
        "## Limits", "", *_limits(summary.metrics), "",
    ])  # fmt: skip


def of_pretrained(summary: ModelSummary, origin: Origin) -> str:
    """The card of a network that was taken as it is."""
    return "\n".join([
        f"# {_plain(summary.name)}", "",
        f"An image classifier of the {len(summary.classes)} ImageNet classes, as published; not trained here.", "",
        "## How good it is", "", "Nothing was measured here.", "",
        "## Network", "", *_pairs(_network(summary, origin)), "",
        "## Limits", "",
        "- It names one of the ImageNet classes for any picture, also where none of them is in it.",
        "- ImageNet was collected from the web before 2011 and carries its biases.", "",
    ])  # fmt: skip


def _figures(metrics: dict[str, Any]) -> list[str]:
    if not metrics["num_test"]:
        return ["The dataset version has no test split, so nothing was measured on pictures that played no part in",
                f"training. Accuracy on the validation split, which chose this model: "
                f"{_percent(metrics['validation_accuracy'])}."]  # fmt: skip
    return [
        f"On {metrics['num_test']} test pictures, which played no part in training or in choosing the model:", "",
        "| figure | value |", "|---|---|",
        f"| accuracy | {_percent(metrics['accuracy'])} |",
        f"| always naming the most frequent class | {_percent(metrics['majority_baseline'])} |",
        f"| balanced accuracy (mean recall) | {_percent(metrics['balanced_accuracy'])} |",
        f"| log loss | {metrics['log_loss']:.4f} |",
        f"| expected calibration error | {_percent(metrics['expected_calibration_error'])} |",
        f"| validation accuracy | {_percent(metrics['validation_accuracy'])} |",
    ]  # fmt: skip


def _class_table(per_class: list[dict[str, Any]]) -> list[str]:
    head = ["| class | test pictures | precision | recall | F1 |", "|---|---|---|---|---|"]
    rows = [
        f"| {_plain(row['name'])} | {row['support']} | {_percent(row['precision'])} | {_percent(row['recall'])} "
        f"| {_percent(row['f1'])} |"
        for row in per_class[:_MAX_CLASSES_SHOWN]
    ]
    left_out = len(per_class) - len(rows)
    return [*head, *rows, *(["", f"{left_out} more classes are in the model's metrics."] if left_out else [])]


def _network(summary: ModelSummary, origin: Origin) -> dict[str, Any]:
    transform = summary.transform
    return {
        "backbone": f"`{summary.backbone}`, {summary.num_parameters:,} parameters",
        "first weights": origin.source if origin.is_pretrained else "random",
        "licence of the first weights": (origin.licence or "not stated") if origin.is_pretrained else "none needed",
        "input": f"RGB, {transform.size} x {transform.size} pixels, {transform.resize}, {transform.interpolation}",
    }


def _limits(metrics: dict[str, Any]) -> list[str]:
    rare = [_plain(row["name"]) for row in metrics["per_class"] if (row["support"] or 0) < 10]
    limits = [
        "- It names one of its classes for any picture, also where none of them is in it.",
        "- Its figures hold for pictures like those of the dataset version, and for no others.",
    ]
    if rare and metrics["num_test"]:
        shown = ", ".join(rare[:10]) + (f" and {len(rare) - 10} more" if len(rare) > 10 else "")
        limits.append(f"- Fewer than ten test pictures stand behind the figures of: {shown}.")
    if not metrics["num_validation"]:
        limits.append("- There was no validation split to choose the best weights by.")
    return limits


def _pairs(pairs: dict[str, Any]) -> list[str]:
    return [f"- {name}: {value}" for name, value in pairs.items()]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.2f} %"


def _plain(text: str) -> str:
    """A name that can break no table and open no tag."""
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())
