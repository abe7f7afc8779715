"""Test splits by name: one of them, or all together."""

import numpy as np
import pytest

from fedward.common.errors import DataError
from fedward.common.faces import SPLITS, FaceData, FaceSet, split_name


def faces(*labels: int) -> FaceSet:
    images = np.stack([np.full((48, 48), label, np.uint8) for label in labels])
    return FaceSet(images, np.array(labels), np.array(labels) + 100)


BOTH = {"PublicTest": faces(1, 2), "PrivateTest": faces(3)}


def test_a_split_by_its_name() -> None:
    data = FaceData("x.csv", "0", faces(0), BOTH)
    assert data.test("PrivateTest") is BOTH["PrivateTest"]


def test_all_is_both_test_splits_one_after_the_other() -> None:
    together = FaceData("x.csv", "0", faces(0), BOTH).test("all")
    assert together.labels.tolist() == [1, 2, 3]
    assert together.patients.tolist() == [101, 102, 103]
    assert together.images[:, 0, 0].tolist() == [1, 2, 3]
    assert together.images.dtype == np.uint8


def test_what_the_source_lacks_is_named() -> None:
    data = FaceData("x.csv", "0", faces(0), {"PublicTest": faces(1)})
    message = r"x.csv has PublicTest, not PrivateTest: .*--test-split.*--split"
    with pytest.raises(DataError, match=message):
        data.test("all")
    with pytest.raises(DataError, match="no test split, not PublicTest or PrivateTest"):
        FaceData("x.csv", "0", faces(0), {}).test("all")


def test_a_split_goes_by_its_own_name_and_all_by_both() -> None:
    assert [split_name(split) for split in SPLITS] == list(SPLITS)
    assert split_name("all") == "PublicTest+PrivateTest"
