"""Recipes and split plans: validated where they are made, and never changed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from trainshed.schemas import Augmentation, Needs, Recipe, SplitPlan


def fields_refused(kind: type[BaseModel], **values: Any) -> list[str]:
    """The fields that an error names, as a person would write them."""
    with pytest.raises(ValidationError) as refused:
        kind(**values)
    return [".".join(map(str, error["loc"])) for error in refused.value.errors()]


def test_every_default_is_a_recipe_and_survives_the_wire() -> None:
    recipe = Recipe()
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_every_field_of_a_recipe_explains_itself() -> None:
    told = {**Recipe.model_fields, **Augmentation.model_fields, **SplitPlan.model_fields}
    silent = {name for name, field in told.items() if not field.description}
    assert silent == {"schema_version", "task"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("image_size", 8),
        ("learning_rate", 0),
        ("batch_size", "many"),
        ("warmup_fraction", 1.0),
        ("resize", "stretch"),
        ("seed", 2**31),
        ("device", "tpu"),
        ("weight_decay", float("nan")),
        ("checkpoint_seconds", float("inf")),
        ("schema_version", 2),
        ("epoch", 3),
    ],
)
def test_a_bad_field_is_named(field: str, value: object) -> None:
    assert fields_refused(Recipe, **{field: value}) == [field]


def test_a_bad_field_inside_is_named_with_its_place() -> None:
    assert fields_refused(Recipe, augmentation={"rotate_degrees": 181}) == ["augmentation.rotate_degrees"]
    assert fields_refused(Recipe, augmentation={"rotate": 10}) == ["augmentation.rotate"]


def test_a_network_from_nothing_has_no_pretrained_weights() -> None:
    for weights in ("package", "hub"):
        with pytest.raises(ValidationError, match="set weights to `auto` or `none`"):
            Recipe(backbone="scratch-cnn", weights=weights)
    assert Recipe(backbone="scratch-cnn", weights="none").weights == "none"


def test_bad_shares_of_a_split_are_named() -> None:
    assert fields_refused(SplitPlan, validation=1.0, test=-0.1) == ["validation", "test"]
    assert fields_refused(SplitPlan, seed=-1) == ["seed"]


def test_needs_are_whole_cards() -> None:
    assert Needs().gpus == 0
    assert fields_refused(Needs, gpus=-1) == ["gpus"]


def test_a_recipe_never_changes() -> None:
    for frozen in (Recipe(), SplitPlan(), Augmentation()):
        name = next(iter(type(frozen).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(frozen, name, getattr(frozen, name))
