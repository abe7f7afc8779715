"""A study is frozen and closed; mistakes are named with their cure."""

from typing import get_args

import pytest
from pydantic import ValidationError

from fedward.common.config import (
    MOST_RECORDS_PER_PATIENT,
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
        ({"name": "x", "privacy": {"epsilon": 1, "unit": "person"}}, "privacy.unit"),
        (
            {"name": "x", "privacy": {"epsilon": 1, "records_per_patient": 2}},
            "records_per_patient is for unit patient: set unit to patient, or leave it out",
        ),
        (
            {"name": "x", "privacy": {"epsilon": 1, "unit": "patient", "records_per_patient": 0}},
            "privacy.records_per_patient",
        ),
        (
            {"name": "x", "privacy": {"epsilon": 1, "unit": "patient", "records_per_patient": 65}},
            "privacy.records_per_patient",
        ),
    ],
)
def test_mistakes_are_named(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_study(document)


def test_the_unit_is_an_image_unless_a_study_says_patient() -> None:
    assert Study(name="x").unit == Study(name="x", privacy=PrivacyConfig(epsilon=1)).unit == "image"
    assert PrivacyConfig(epsilon=1).patient_records is None
    document = {"name": "x", "privacy": {"epsilon": 1, "unit": "patient"}}
    study = parse_study(document)
    assert study.unit == "patient"
    assert study.privacy is not None
    assert study.privacy.patient_records == study.privacy.records_per_patient == 4


def test_a_patient_fits_a_part_of_a_step() -> None:
    from fedward.common.train import MOST_ROWS

    assert MOST_RECORDS_PER_PATIENT <= MOST_ROWS


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
