"""Which rows of a patient enter a step: k of them, drawn afresh, whatever the patient brings."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.common.patients import patient_rows

ONE_AND_THREE = np.array([9, 4, 9, 9])  # patient 4 has row 1; patient 9 has rows 0, 2 and 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_two_patients_with_one_and_three_records_by_hand() -> None:
    both = torch.tensor([0, 1])
    two = patient_rows(ONE_AND_THREE, records=2)
    assert len(two) == 2
    drawn = [two.of_each(both, generator(seed)).tolist() for seed in range(300)]
    assert all(rows[0] == [1, 1] for rows in drawn)
    pairs = Counter(tuple(rows[1]) for rows in drawn)
    assert set(pairs) == {(0, 2), (2, 0), (0, 3), (3, 0), (2, 3), (3, 2)}
    assert min(pairs.values()) > 25  # 50 expected

    four = patient_rows(ONE_AND_THREE, records=4)
    drawn = [four.of_each(both, generator(seed)).tolist() for seed in range(300)]
    assert all(rows[0] == [1, 1, 1, 1] for rows in drawn)
    twice = Counter(Counter(rows[1]).most_common()[0][0] for rows in drawn)
    assert all(sorted(Counter(rows[1]).values()) == [1, 1, 2] for rows in drawn)
    assert set(twice) == {0, 2, 3}
    assert min(twice.values()) > 65  # 100 expected


def test_once_each_gives_different_rows_of_everybody() -> None:
    for records, sizes in ((1, [1]), (2, [1, 2]), (5, [1, 3])):
        parts = list(patient_rows(ONE_AND_THREE, records=records).once_each(generator()))
        assert [part.shape[1] for part in parts] == sizes
        rows = torch.cat([part.flatten() for part in parts]).tolist()
        assert len(set(rows)) == len(rows) == 1 + min(records, 3)
    (both,) = patient_rows(ONE_AND_THREE, records=1).once_each(generator())
    assert both[0].tolist() == [1]
    assert both[1].item() in (0, 2, 3)


@given(
    patients=st.lists(st.integers(-3, 8), min_size=1, max_size=60),
    records=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_unit_is_k_rows_of_one_patient_as_equally_often_as_can_be(
    patients: list[int], records: int, seed: int, data: st.DataObject
) -> None:
    numbers = np.array(patients)
    names, counts = np.unique(numbers, return_counts=True)
    whose = patient_rows(numbers, records=records)
    chosen = data.draw(st.lists(st.integers(0, len(names) - 1), unique=True))
    drawn = whose.of_each(torch.tensor(chosen, dtype=torch.int64), generator(seed))
    assert drawn.shape == (len(chosen), records)
    for patient, rows in zip(chosen, drawn.tolist(), strict=True):
        assert {numbers[row] for row in rows} == {names[patient]}
        times = Counter(rows).values()
        assert max(times) - min(times) <= 1
        assert len(times) == min(records, counts[patient])
    given_once: Counter[int] = Counter()
    for part in whose.once_each(generator(seed)):
        for rows in part.tolist():
            (name,) = {int(numbers[row]) for row in rows}
            given_once[name] += 1
            assert len(set(rows)) == len(rows) == min(records, (numbers == name).sum())
    assert given_once == Counter(names.tolist())


def test_nobody_chosen_is_no_rows() -> None:
    nobody = torch.empty(0, dtype=torch.int64)
    drawn = patient_rows(ONE_AND_THREE, records=3).of_each(nobody, generator())
    assert drawn.shape == (0, 3)


def test_every_step_draws_afresh() -> None:
    whose, one = patient_rows(np.zeros(50, np.int64), records=3), generator()
    steps = {tuple(whose.of_each(torch.tensor([0]), one)[0].tolist()) for _ in range(20)}
    assert len(steps) == 20


def test_a_patient_gives_a_record_at_least() -> None:
    with pytest.raises(ValueError, match="cannot give 0 records"):
        patient_rows(ONE_AND_THREE, records=0)
