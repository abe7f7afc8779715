import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedward.common.curate import Fate, blank, fates, identical_groups, summary
from fedward.common.faces import Curation
from fedward.common.raw_faces import RawFaces

TRAINING, PUBLIC, PRIVATE = 0, 1, 2
KEPT, DUPLICATE, CONFLICT, BLANK = Fate.KEPT, Fate.DUPLICATE, Fate.CONFLICT, Fate.BLANK


def faces_of(*rows: tuple[int, int, int]) -> RawFaces:
    """Faces given as (pattern, label, split); pattern 0 is blank."""
    patterns, labels, splits = (
        np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)
    )
    images = np.full((len(rows), 48, 48), 7, dtype=np.uint8)
    images[:, 3, 5] += patterns.astype(np.uint8)
    return RawFaces(images, labels, splits)


def fate_of(*rows: tuple[int, int, int]) -> list[int]:
    return [int(fate) for fate in fates(faces_of(*rows))]


def test_rule_1_a_training_copy_of_a_test_image_leaves() -> None:
    assert fate_of((1, 0, TRAINING), (2, 0, TRAINING), (1, 0, PUBLIC), (2, 3, PRIVATE)) == [
        *(DUPLICATE, DUPLICATE, KEPT, KEPT)
    ]


def test_rule_2_a_public_copy_of_a_private_image_leaves() -> None:
    assert fate_of((1, 0, PUBLIC), (1, 0, PRIVATE), (2, 0, PUBLIC)) == [DUPLICATE, KEPT, KEPT]


def test_rule_3_the_first_of_agreeing_copies_stays() -> None:
    assert fate_of((1, 4, 0), (2, 4, 0), (1, 4, 0), (1, 4, 0)) == [KEPT, KEPT, DUPLICATE, DUPLICATE]


def test_rule_3_none_of_disagreeing_copies_stays() -> None:
    assert fate_of((1, 4, 0), (1, 4, 0), (1, 5, 0), (2, 5, 0)) == [*(CONFLICT,) * 3, KEPT]


def test_rule_4_blank_training_images_leave() -> None:
    assert fate_of((0, 4, 0), (0, 5, 0), (1, 1, 0)) == [BLANK, BLANK, KEPT]


def test_rule_5_test_splits_keep_their_own_copies_conflicts_and_blanks() -> None:
    rows = [(1, 4, PUBLIC), (1, 5, PUBLIC), (0, 2, PUBLIC), (3, 1, PRIVATE), (3, 1, PRIVATE)]
    assert fate_of(*rows) == [KEPT] * 5


def test_a_copy_of_a_test_image_counts_as_duplicate_even_if_labels_conflict() -> None:
    assert fate_of((1, 4, 0), (1, 5, 0), (1, 4, PUBLIC)) == [DUPLICATE, DUPLICATE, KEPT]


def test_summary_counts_each_image_once() -> None:
    fate = np.array([KEPT, DUPLICATE, CONFLICT, CONFLICT, BLANK], dtype=np.int64)
    assert summary(fate) == Curation(1, 2, 1)


def test_groups_and_blanks_of_images() -> None:
    images = faces_of((1, 0, 0), (0, 0, 0), (1, 0, 0), (2, 0, 0)).images
    groups = identical_groups(images)
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3
    assert set(groups.tolist()) == {0, 1, 2}
    assert blank(images).tolist() == [False, True, False, False]


def test_one_pixel_by_one_level_makes_another_image() -> None:
    images = np.zeros((2, 48, 48), dtype=np.uint8)
    images[1, 47, 47] = 1
    assert len(set(identical_groups(images).tolist())) == 2


def test_no_faces_at_all() -> None:
    none = RawFaces(np.zeros((0, 48, 48), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert fates(none).tolist() == []


rows_of_faces = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40
)


@given(rows_of_faces)
def test_afterwards_no_image_lies_in_two_splits_and_training_has_no_copies(
    rows: list[tuple[int, int, int]],
) -> None:
    fate = fates(faces_of(*rows))
    kept = [row for row, end in zip(rows, fate, strict=True) if end == KEPT]
    patterns = [[p for p, _, split in kept if split == code] for code in range(3)]
    training, public, private = map(set, patterns)
    assert not training & public
    assert not training & private
    assert not public & private
    assert len(patterns[TRAINING]) == len(training)
    assert 0 not in training


@given(rows_of_faces)
def test_nothing_leaves_without_a_reason(rows: list[tuple[int, int, int]]) -> None:
    fate = fates(faces_of(*rows))
    before = {(pattern, split) for pattern, _, split in rows}
    after = {(p, split) for (p, _, split), end in zip(rows, fate, strict=True) if end == KEPT}
    for pattern, split in before - after:
        labels = {label for p, label, s in rows if p == pattern and s == split}
        in_a_later_test = any((pattern, later) in before for later in range(split + 1, 3))
        assert in_a_later_test or (split == TRAINING and (pattern == 0 or len(labels) > 1))
    assert all((p, PRIVATE) in after for p, split in before if split == PRIVATE)


@given(rows_of_faces)
def test_curating_twice_changes_nothing(rows: list[tuple[int, int, int]]) -> None:
    faces = faces_of(*rows)
    once = faces.take(np.flatnonzero(fates(faces) == KEPT))
    assert (fates(once) == KEPT).all()
