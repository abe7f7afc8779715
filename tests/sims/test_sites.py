"""A study that is scored on the validation part: the same faces for everybody."""

from pathlib import Path

import numpy as np
import pytest

from fedward.common.config import (
    DataConfig,
    HospitalsConfig,
    PrivacyConfig,
    Study,
    parse_study,
)
from fedward.common.errors import ConfigError
from fedward.sims.sites import Consortium, consortium


@pytest.fixture
def csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty Training faces, seven PublicTest ones."""
    monkeypatch.setenv("FEDWARD_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (67, 48 * 48))
    rows = [
        f"{k % 7},{' '.join(map(str, face))},{'Training' if k < 60 else 'PublicTest'}"
        for k, face in enumerate(pixels)
    ]
    path = tmp_path / "faces.csv"
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    return path


def dealt(source: str, *, seed: int, count: int = 2) -> Consortium:
    data = DataConfig(source=source, test_split="validation", synthetic_patients=60)
    return consortium(Study(name="x", seed=seed, data=data, hospitals=HospitalsConfig(count=count)))


def distinct(images: object) -> set[bytes]:
    return {image.tobytes() for image in np.asarray(images)}


def test_all_seeds_and_hospitals_are_judged_by_the_same_faces(csv: Path) -> None:
    first = dealt(str(csv), seed=0)
    assert first.test_name == "Validation"
    assert (len(first.test), len(first.data.training)) == (12, 48)
    for seed, count in ((1, 2), (2, 4)):
        other = dealt(str(csv), seed=seed, count=count)
        assert np.array_equal(other.examined.images, first.examined.images)
        assert np.array_equal(other.examined.labels, first.examined.labels)


def test_no_hospital_trains_on_a_validation_face(csv: Path) -> None:
    made = dealt(str(csv), seed=3)
    judges = distinct(made.test.images)
    trained = [distinct(made.training_faces(hospital).images) for hospital in made.hospitals]
    assert len(judges) == 12
    assert sum(map(len, trained)) == 48
    assert not judges & set().union(*trained)
    assert sorted(np.concatenate([h.test for h in made.hospitals]).tolist()) == list(range(12))


def test_a_site_knows_its_unit_and_its_size_counts_it() -> None:
    data = DataConfig(synthetic_patients=90, synthetic_images_per_patient=4)
    hospitals = HospitalsConfig(count=2, size_sigma=0)
    study = Study(name="x", data=data, hospitals=hospitals)
    private = study.model_copy(update={"privacy": PrivacyConfig(epsilon=1, unit="patient")})
    per_image, per_patient = consortium(study), consortium(private)
    for one, other in zip(per_image.sites, per_patient.sites, strict=True):
        assert (one.unit, other.unit) == ("image", "patient")
        assert np.array_equal(one.faces.images, other.faces.images)
        assert abs(one.size - len(one.faces)) <= 5
        assert other.size == len(np.unique(one.faces.patients))
    assert per_patient.pooled().size == sum(site.size for site in per_patient.sites)
    assert per_patient.pooled().unit == "patient"


@pytest.mark.parametrize("baselines", ["none", "pooled"])
def test_a_delta_that_is_too_large_for_a_hospital_or_the_pooled_one_is_refused(
    baselines: str,
) -> None:
    """63 patients at two hospitals."""
    document = {
        "name": "x",
        "data": {"synthetic_patients": 90, "synthetic_images_per_patient": 4},
        "hospitals": {"count": 2, "size_sigma": 0},
        "privacy": {"epsilon": 1, "unit": "patient"},
        "baselines": baselines,
    }

    def with_delta(delta: float, unit: str = "patient") -> Consortium:
        privacy = {"epsilon": 1, "unit": unit, "delta": delta}
        return consortium(parse_study({**document, "privacy": privacy}))

    assert with_delta(0.015)
    with pytest.raises(ConfigError, match=r"below one in the 1.0 images of a hospital"):
        with_delta(0.05, unit="image")
    with pytest.raises(ConfigError, match=r"below one in the 3. patients of a hospital"):
        with_delta(0.05)
    if baselines == "none":
        assert with_delta(0.018)
    else:
        with pytest.raises(ConfigError, match=r"below one in the 6. patients"):
            with_delta(0.018)


def test_drawn_patients_stay_whole_and_are_the_same_for_every_seed() -> None:
    made = [dealt("synthetic", seed=seed) for seed in (0, 1)]
    patients = [set(one.test.patients.tolist()) for one in made]
    assert patients[0] == patients[1]
    assert not patients[0] & set(made[0].data.training.patients.tolist())
    assert len(made[0].test) == 5 * len(patients[0])
