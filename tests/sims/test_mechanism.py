"""What a report says about the mechanism, by the unit of privacy."""

import pytest

from fedward.common.config import PrivacyConfig, Study, TrainingConfig, Unit
from fedward.sims.mechanism import describe_mechanism


def study(unit: Unit, model: str = "scatter") -> Study:
    privacy = {"epsilon": 1, "unit": unit}
    if unit == "patient":
        privacy["records_per_patient"] = 7
    return Study(
        name="x",
        training=TrainingConfig(model=model, batch_size=8),
        privacy=PrivacyConfig(**privacy),
    )


@pytest.mark.parametrize("unit", ["image", "patient"])
def test_the_neighbours_are_said(unit: Unit) -> None:
    told = describe_mechanism(study(unit), None)
    said = " ".join(told.assumptions)
    assert told.unit == unit
    assert f"adding or removing one {unit}" in said
    assert ("protected for each image, not for all together" in said) == (unit == "image")
    assert ("at most 7 images, drawn afresh" in said) == (unit == "patient")


@pytest.mark.parametrize(
    ("model", "kind"), [("scatter", "full-batch"), ("lstm", "Poisson-subsampled")]
)
def test_the_mechanism_is_that_of_the_model(model: str, kind: str) -> None:
    assert kind in describe_mechanism(study("patient", model), None).mechanism
