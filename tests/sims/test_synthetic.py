"""The synthetic faces are a fair stand-in: seeded, split by patient, and not too easy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from fedward.common.errors import ConfigError
from fedward.common.faces import EMOTIONS, FaceData, FaceSet
from fedward.sims.synthetic import synthetic_faces


@pytest.fixture(scope="module")
def small() -> FaceData:
    return synthetic_faces(patients=200, images_per_patient=5, seed=3)


def every_set(data: FaceData) -> list[FaceSet]:
    return [data.training, *data.tests.values()]


def standardised(images: np.ndarray) -> np.ndarray:
    pixels = images.reshape(len(images), -1).astype(np.float32)
    return (pixels - pixels.mean(1, keepdims=True)) / pixels.std(1, keepdims=True)


def test_shapes_types_and_names(small):
    assert small.source == "synthetic"
    assert list(small.tests) == ["PublicTest", "PrivateTest"]
    assert [len(part) for part in every_set(small)] == [700, 150, 150]
    for part in every_set(small):
        assert part.images.shape == (len(part), 48, 48)
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.int64)
        assert part.patients.dtype == np.int64


def test_same_seed_same_arrays_and_another_seed_others():
    first, again, other = (
        synthetic_faces(patients=20, images_per_patient=2, seed=seed) for seed in (5, 5, 6)
    )
    for a, b in zip(every_set(first), every_set(again), strict=True):
        assert np.array_equal(a.images, b.images)
        assert np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.patients, b.patients)
    assert first.sha256 == again.sha256
    assert len(first.sha256) == 64
    assert other.sha256 != first.sha256
    assert not np.array_equal(other.training.images, first.training.images)


@settings(max_examples=15, deadline=None)
@given(patients=st.integers(3, 40), each=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_no_patient_is_in_two_splits_and_none_is_lost(patients, each, seed):
    data = synthetic_faces(patients=patients, images_per_patient=each, seed=seed)
    owners = [set(part.patients.tolist()) for part in every_set(data)]
    assert all(owners)
    assert sum(map(len, owners)) == patients
    assert set.union(*owners) == set(range(patients))
    counts = np.concatenate([part.patients for part in every_set(data)])
    assert np.bincount(counts).tolist() == [each] * patients


def test_every_emotion_is_in_every_split_and_some_are_rarer(small):
    for part in every_set(small):
        counts = part.label_counts()
        assert min(counts) > 0
        assert EMOTIONS[int(np.argmin(counts))] == "disgust"
        assert EMOTIONS[int(np.argmax(counts))] == "happy"


def test_images_are_faces_on_a_grey_scale_not_blank_and_all_distinct(small):
    for part in every_set(small):
        assert part.images.std(axis=(1, 2)).min() > 4
        assert len(np.unique(part.images.reshape(len(part), -1), axis=0)) == len(part)


def test_a_patient_resembles_himself_more_than_others_of_the_same_emotion(small):
    faces = small.training
    pixels = standardised(faces.images)
    distance = 1 - pixels @ pixels.T / pixels.shape[1]
    same_patient = faces.patients[:, None] == faces.patients[None, :]
    same_emotion = faces.labels[:, None] == faces.labels[None, :]
    within = distance[same_patient & ~same_emotion].mean()
    between = distance[~same_patient & same_emotion].mean()
    assert within < 0.85 * between


def test_emotions_show_but_not_to_a_linear_model_alone(small):
    test = small.tests["PublicTest"]
    model = LogisticRegression(C=1e-3, max_iter=500)
    model.fit(standardised(small.training.images), small.training.labels)
    accuracy = model.score(standardised(test.images), test.labels)
    most_frequent = max(test.label_counts()) / len(test)
    assert most_frequent < accuracy < 0.60


def test_mean_faces_of_emotions_differ_where_the_emotion_shows():
    faces = synthetic_faces(patients=400, images_per_patient=5, seed=0).training
    pixels = standardised(faces.images).reshape(-1, 48, 48)
    mean = {name: pixels[faces.labels == code].mean(0) for code, name in enumerate(EMOTIONS)}
    mouth = np.s_[32:42, 18:30]
    assert mean["surprise"][mouth].mean() < mean["neutral"][mouth].mean() - 0.1
    frown = np.s_[14:22, 20:28]
    assert mean["angry"][frown].mean() < mean["surprise"][frown].mean() - 0.1


@pytest.mark.parametrize(
    ("patients", "each", "cure"), [(2, 5, "at least 3"), (10, 0, "at least 1")]
)
def test_too_few_is_a_clear_error(patients, each, cure):
    with pytest.raises(ConfigError, match=cure):
        synthetic_faces(patients=patients, images_per_patient=each, seed=0)
