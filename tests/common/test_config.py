"""A study is frozen and closed; mistakes are named with their cure."""

from typing import get_args

import pytest
from pydantic import ValidationError

from fedward.common.config import (
    NOT_AUGMENTED,
    TAKES_SMALL_FACES,
    ModelName,
    PrivacyConfig,
    Study,
    parse_study,
)
from fedward.common.errors import ConfigError
from fedward.common.models import MODELS


def test_a_study_survives_json() -> None:
    study = Study(name="x", privacy=PrivacyConfig(epsilon=3))
    assert parse_study(study.model_dump(mode="json")) == study


def test_a_study_is_frozen() -> None:
    study = Study(name="x")
    with pytest.raises(ValidationError, match="frozen"):
        study.seed = 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"name": "x", "sede": 3}, "unknown key 'sede'; did you mean 'seed'"),
        ({"name": "x", "training": {"epoch": 3}}, r"'training.epoch'; did you mean 'epochs'"),
        ({"name": "x", "privacy": {"epsilom": 3}}, r"'privacy.epsilom'; did you mean 'epsilon'"),
        ({"name": "x", "rounds": {"count": 0}}, "rounds.count: .*greater than or equal to 1"),
        ({"seed": 3}, "name: Field required"),
        (
            {"name": "x", "privacy": {"epsilon": 1}, "training": {"calibrate": True}},
            "calibrate uses private label frequencies",
        ),
        ({"name": "x", "privacy": {}}, "exactly one of epsilon and noise_multiplier"),
        ({"name": "x", "privacy": {"epsilon": 1, "noise_multiplier": 1}}, "exactly one of"),
        ({"name": "x", "training": {"learning_rate": float("nan")}}, "learning_rate"),
    ],
)
def test_mistakes_are_named(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_study(document)


def test_the_names_of_models_are_the_registrys() -> None:
    assert set(get_args(ModelName)) == set(MODELS)


def test_only_models_that_take_small_faces_may_start_on_them() -> None:
    assert {name for name, spec in MODELS.items() if spec.any_side} == TAKES_SMALL_FACES
    with pytest.raises(ConfigError, match="lstm reads 48x48 faces only"):
        parse_study({"name": "x", "training": {"model": "lstm", "low_resolution": 0.5}})


def test_only_models_with_taught_modules_may_start_from_drawings() -> None:
    assert parse_study({"name": "x", "training": {"model": "cnn-lstm", "start": "drawings"}})
    with pytest.raises(
        ConfigError, match="only cnn-lstm, compact-cnn, lstm can start from drawings"
    ):
        parse_study({"name": "x", "training": {"model": "thesis-cnn", "start": "drawings"}})


def test_features_are_not_augmented() -> None:
    assert {name for name, spec in MODELS.items() if spec.features and not spec.linear} == (
        NOT_AUGMENTED
    )
    with pytest.raises(ConfigError, match="scatter-cnn reads features, not pixels: set augment"):
        parse_study({"name": "x", "training": {"model": "scatter-cnn", "augment": True}})
