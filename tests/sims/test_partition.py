import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.common.config import HospitalsConfig
from fedward.common.errors import ConfigError
from fedward.common.faces import FaceSet
from fedward.common.seeds import numpy_generator
from fedward.sims.describe import skew
from fedward.sims.partition import FEWEST, Hospital, deal, declared_size, draw_shares


def faces(labels: np.ndarray, patients: np.ndarray) -> FaceSet:
    no_pixels = np.broadcast_to(np.zeros(1, np.uint8), (len(labels), 48, 48))
    return FaceSet(no_pixels, labels.astype(np.int64), patients.astype(np.int64))


def random_faces(n: int, *, patients: int, first: int = 0, seed: int = 0) -> FaceSet:
    rng = np.random.default_rng(seed)
    return faces(rng.integers(0, 7, n), first + rng.integers(0, patients, n))


def one_image_each(n: int, *, first: int = 0, seed: int = 0) -> FaceSet:
    return faces(np.random.default_rng(seed).integers(0, 7, n), np.arange(first, first + n))


def label_counts(of: FaceSet, rows: list[np.ndarray]) -> np.ndarray:
    return np.array([np.bincount(of.labels[r], minlength=7) for r in rows])


def all_rows(parts: list[np.ndarray]) -> list[int]:
    return sorted(int(row) for part in parts for row in part)


def rows_of(dealt: tuple[Hospital, ...]) -> list[list[int]]:
    return [[*h.training.tolist(), -1, *h.test.tolist()] for h in dealt]


@given(
    count=st.integers(1, 8),
    alpha=st.none() | st.floats(1e-3, 100),
    size_sigma=st.floats(0, 3),
    patients=st.integers(30, 400),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_every_index_is_dealt_exactly_once_and_patients_stay_whole(
    count: int, alpha: float | None, size_sigma: float, patients: int, seed: int
) -> None:
    training = random_faces(600, patients=patients, seed=seed)
    test = random_faces(150, patients=patients, first=patients // 2, seed=seed + 1)  # some in both
    config = HospitalsConfig(count=count, alpha=alpha, size_sigma=size_sigma)

    dealt = deal(training, test, config, seed=seed)

    assert len(dealt) == count
    assert all_rows([h.training for h in dealt]) == list(range(600))
    assert all_rows([h.test for h in dealt]) == list(range(150))
    seen: dict[int, str] = {}
    for hospital in dealt:
        assert len(hospital.training) >= FEWEST
        for part, rows in ((training, hospital.training), (test, hospital.test)):
            assert (np.diff(rows) > 0).all()
            for patient in part.patients[rows].tolist():
                assert seen.setdefault(patient, hospital.name) == hospital.name


@given(st.integers(0, 2**31), st.integers(2, 6))
@settings(max_examples=15, deadline=None)
def test_the_seed_decides_the_deal(seed: int, count: int) -> None:
    training, test = one_image_each(300), one_image_each(80, first=300)
    config = HospitalsConfig(count=count)

    first = rows_of(deal(training, test, config, seed=seed))

    assert rows_of(deal(training, test, config, seed=seed)) == first
    assert rows_of(deal(training, test, config, seed=seed + 1)) != first


def test_one_image_per_patient_is_dealt_to_the_quota() -> None:
    training, test = one_image_each(7000), one_image_each(1400, first=7000, seed=1)
    config = HospitalsConfig(count=6, size_sigma=0.3)

    dealt = deal(training, test, config, seed=4)

    shares = draw_shares(config, numpy_generator(4, "hospitals", "shares"))
    for part, rows in ((training, [h.training for h in dealt]), (test, [h.test for h in dealt])):
        quota = (shares * np.array(part.label_counts())[:, None]).T
        assert np.abs(label_counts(part, rows) - quota).max() <= 1


def test_even_hospitals_without_alpha_and_sigma() -> None:
    labels = np.tile(np.arange(7), 20)
    training = faces(labels, np.arange(140))
    config = HospitalsConfig(count=4, alpha=None, size_sigma=0)

    dealt = deal(training, training, config, seed=0)

    assert (label_counts(training, [h.training for h in dealt]) == 5).all()
    assert all(np.array_equal(h.training, h.test) for h in dealt)  # the same patients


@pytest.mark.parametrize("images_per_patient", [1, 3])
def test_lower_alpha_means_more_skew(images_per_patient: int) -> None:
    labels = np.random.default_rng(0).integers(0, 7, 2100)
    training = faces(labels, np.arange(2100) // images_per_patient)
    nobody = training.take(np.arange(0))

    def distance(alpha: float | None) -> float:
        config = HospitalsConfig(count=6, alpha=alpha)
        deals = [deal(training, nobody, config, seed=seed) for seed in range(5)]
        found = [skew(label_counts(training, [h.training for h in d])) for d in deals]
        return float(np.mean([s.hellinger_mean for s in found]))

    distances = [distance(alpha) for alpha in (None, 100.0, 5.0, 0.5)]
    assert distances == sorted(distances)
    assert distances[0] < 0.05
    assert distances[-1] > 0.3


def test_higher_sigma_means_more_unequal_sizes() -> None:
    training = one_image_each(3000)
    nobody = training.take(np.arange(0))

    def inequality(sigma: float) -> float:
        config = HospitalsConfig(count=10, alpha=None, size_sigma=sigma)
        dealt = deal(training, nobody, config, seed=1)
        return skew(label_counts(training, [h.training for h in dealt])).size_gini

    assert inequality(0) < 0.01 < inequality(0.3) < inequality(0.6) < inequality(1.5)


def test_small_hospitals_are_fed_however_unequal_the_draw() -> None:
    training = one_image_each(420)
    config = HospitalsConfig(count=40, alpha=0.01, size_sigma=3)

    dealt = deal(training, one_image_each(50, first=420), config, seed=0)

    assert all_rows([h.training for h in dealt]) == list(range(420))
    assert min(len(h.training) for h in dealt) == FEWEST


def test_images_each_caps_training_patient_by_patient() -> None:
    training = faces(np.tile(np.arange(7), 60), np.arange(420) // 3)
    test = one_image_each(50, first=1000)
    full = deal(training, test, HospitalsConfig(count=3), seed=0)

    capped = deal(training, test, HospitalsConfig(count=3, images_each=40), seed=0)

    assert [len(h.training) for h in capped] == [min(len(h.training), 40) for h in full]
    assert max(len(h.training) for h in full) > 40
    for before, after in zip(full, capped, strict=True):
        assert set(after.training.tolist()) <= set(before.training.tolist())
        assert np.array_equal(after.test, before.test)
        kept = np.unique(training.patients[after.training], return_counts=True)[1]
        assert (kept < 3).sum() <= 1  # only the last patient may be kept in part


def test_a_cap_below_the_fewest_is_a_fewest_of_its_own() -> None:
    training = one_image_each(60)

    dealt = deal(training, training, HospitalsConfig(count=20, images_each=3), seed=0)

    assert [len(h.training) for h in dealt] == [3] * 20


def test_two_hundred_hospitals_of_a_hundred_images_are_dealt_fast() -> None:
    training, test = one_image_each(27_000), one_image_each(3_500, first=27_000)
    config = HospitalsConfig(count=200, alpha=None, size_sigma=0, images_each=100)

    start = time.perf_counter()
    dealt = deal(training, test, config, seed=0)

    assert time.perf_counter() - start < 2
    assert [len(h.training) for h in dealt] == [100] * 200
    assert (dealt[0].name, dealt[-1].name) == ("hospital-001", "hospital-200")
    assert all_rows([h.test for h in dealt]) == list(range(3_500))


def test_names_and_cameras_go_round() -> None:
    training = one_image_each(100)
    config = HospitalsConfig(count=3, cameras=("clean", "dim-ward"))

    dealt = deal(training, training, config, seed=0)

    assert [h.name for h in dealt] == ["hospital-01", "hospital-02", "hospital-03"]
    assert [h.camera for h in dealt] == ["clean", "dim-ward", "clean"]
    assert [h.declared for h in dealt] == [declared_size(len(h.training)) for h in dealt]


def test_a_declared_size_counts_the_units_of_privacy_and_changes_nothing_else() -> None:
    training = faces(np.arange(600) % 7, np.arange(600) // 4)
    config = HospitalsConfig(count=3)
    per_image = deal(training, training, config, seed=0)
    per_patient = deal(training, training, config, seed=0, unit="patient")
    for one, other in zip(per_image, per_patient, strict=True):
        assert np.array_equal(one.training, other.training)
        assert one.declared == declared_size(len(one.training))
        assert other.declared == declared_size(len(one.training) // 4)


@pytest.mark.parametrize(
    ("images", "declared"),
    [
        (1, 10),
        (10, 10),
        (99, 99),
        (104, 100),
        (105, 110),
        (1104, 1100),
        (5873, 5900),
        (9960, 10000),
    ],
)
def test_declared_sizes_have_two_significant_digits(images: int, declared: int) -> None:
    assert declared_size(images) == declared


@pytest.mark.parametrize(
    ("training", "count", "message"),
    [
        (one_image_each(99), 10, "99 training images of 99 patients cannot be dealt to 10"),
        (faces(np.zeros(90), np.arange(90) // 30), 4, "90 training images of 3 patients"),
        (faces(np.zeros(20), np.arange(20) // 8), 2, "with patients whole and 10 images each"),
    ],
)
def test_too_many_hospitals_are_refused(training: FaceSet, count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message + r".*ask for fewer hospitals"):
        deal(training, training, HospitalsConfig(count=count), seed=0)


def test_unknown_or_missing_cameras_are_refused() -> None:
    training = one_image_each(100)

    with pytest.raises(ConfigError, match="did you mean 'close-up'"):
        deal(training, training, HospitalsConfig(cameras=("close-uo",)), seed=0)
    with pytest.raises(ConfigError, match=r"hospitals\.cameras is empty"):
        deal(training, training, HospitalsConfig(cameras=()), seed=0)
