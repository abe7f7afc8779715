"""The validation part: fixed for good, whole patients, and nobody in it is trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward.common.errors import DataError
from fedward.common.faces import FaceData, FaceSet
from fedward.common.validation import held_out, validation_patients


def faces(patients: list[int]) -> FaceSet:
    """A face for every entry, told apart by its row in the first two pixels."""
    rows = np.arange(len(patients))
    images = np.zeros((len(patients), 48, 48), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = rows % 256, rows // 256
    return FaceSet(images, rows % 7, np.array(patients, np.int64))


def data(patients: list[int]) -> FaceData:
    return FaceData("x.csv", "hash", faces(patients), {"PublicTest": faces([900, 901])})


def test_the_cut_is_fixed_for_good() -> None:
    assert validation_patients(np.arange(20)).tolist() == [11, 12, 13, 19]


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=60))
def test_patients_stay_whole_and_the_parts_are_disjoint(patients: list[int]) -> None:
    if len(set(patients)) < 2:
        patients = [*patients, patients[0] + 1]
    whole = data(patients)
    cut = held_out(whole)
    validation = cut.test("validation")
    trained, judges = set(cut.training.patients.tolist()), set(validation.patients.tolist())
    assert not trained & judges
    assert trained | judges == set(patients)
    assert len(judges) == max(1, round(len(set(patients)) / 5))
    assert len(cut.training) + len(validation) == len(whole.training)
    both = np.concatenate([cut.training.images, validation.images])
    assert len(np.unique(both.reshape(len(both), -1), axis=0)) == len(whole.training)


@given(st.permutations(range(40)))
def test_the_order_of_the_faces_changes_nothing(order: list[int]) -> None:
    patients = np.array(order, np.int64) // 2
    assert np.array_equal(validation_patients(patients), validation_patients(np.arange(20)))


def test_a_row_keeps_its_image_label_and_patient() -> None:
    whole = data([k // 3 for k in range(60)])
    cut = held_out(whole)
    for part in (cut.training, cut.test("validation")):
        rows = part.images[:, 0, 0].astype(np.int64)
        assert rows.tolist() == sorted(rows.tolist())
        assert np.array_equal(part.labels, whole.training.labels[rows])
        assert np.array_equal(part.patients, whole.training.patients[rows])


def test_test_splits_are_not_touched_and_cannot_be_scored_on() -> None:
    whole = data(list(range(30)))
    cut = held_out(whole)
    assert list(whole.tests) == ["PublicTest"]
    assert len(whole.training) == 30
    assert list(cut.tests) == ["Validation"]
    assert (cut.source, cut.sha256, cut.curation) == ("x.csv", "hash", whole.curation)
    with pytest.raises(DataError, match="has Validation, not PublicTest"):
        cut.test("PublicTest")


@pytest.mark.parametrize("patients", [[], [4], [4, 4, 4]])
def test_too_few_patients_are_named(patients: list[int]) -> None:
    with pytest.raises(DataError, match=r"x.csv: Training has too few patients .*--test-split"):
        held_out(data(patients))
