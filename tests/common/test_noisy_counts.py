"""Noisy counts of right answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from fedward.common.noise_source import SecureNoise, SeededNoise
from fedward.common.noisy_counts import SENSITIVITY, accuracy_of, noisy_counts
from fedward.common.patients import patient_rows


class Noted:
    """Adds nothing, and remembers how much it was asked for."""

    def __init__(self) -> None:
        self.deviation = 0.0

    def added_to(self, total: torch.Tensor, deviation: float) -> torch.Tensor:
        self.deviation = deviation
        return total

    def coins(self, count: int) -> torch.Tensor:
        raise AssertionError


RIGHT = np.array([True, True, False, True, False, False, True])


def test_counts_of_images_by_hand() -> None:
    noise = Noted()
    counts = noisy_counts(RIGHT, noise_multiplier=3.0, noise=noise)
    np.testing.assert_array_equal(counts, np.array([4, 7], np.float32))
    assert counts.dtype == np.float32
    assert noise.deviation == 3.0 * math.sqrt(2)


def test_counts_of_patients_by_hand() -> None:
    rows = patient_rows(np.array([0, 0, 1, 1, 1, 1, 2]), records=4)
    drawn = rows.once_each(torch.Generator().manual_seed(0))
    counts = noisy_counts(RIGHT, noise_multiplier=1.0, noise=Noted(), patients=drawn)
    np.testing.assert_array_equal(counts, np.array([1 + 0.25 + 1, 3], np.float32))


@given(
    right=st.lists(st.booleans(), min_size=1, max_size=30),
    k=st.integers(4, 30),
    data=st.data(),
)
def test_one_patient_moves_both_together_by_the_bound_at_most(
    right: list[bool], k: int, data: st.DataObject
) -> None:
    owners = data.draw(st.lists(st.integers(0, 4), min_size=len(right), max_size=len(right)))
    gone = data.draw(st.sampled_from(owners))

    def counts(keep: list[int]) -> np.ndarray:  # type: ignore[type-arg]
        if not keep:
            return np.zeros(2)
        patients = patient_rows(np.array([owners[i] for i in keep]), records=k)
        return noisy_counts(
            np.array([right[i] for i in keep]),
            noise_multiplier=1.0,
            noise=Noted(),
            patients=patients.once_each(torch.Generator().manual_seed(1)),
        )

    rest = [i for i, owner in enumerate(owners) if owner != gone]
    # else which images are drawn depends on chance, here shared by all patients
    assume(k >= max(owners.count(owner) for owner in owners))
    moved = np.linalg.norm(counts(list(range(len(right)))) - counts(rest))
    assert moved <= SENSITIVITY + 1e-6


def test_noise_has_its_deviation() -> None:
    generator = SeededNoise(torch.Generator().manual_seed(0))
    drawn = np.stack(
        [noisy_counts(RIGHT, noise_multiplier=2.0, noise=generator) for _ in range(4000)]
    )
    np.testing.assert_allclose(drawn.mean(0), [4, 7], atol=0.2)
    np.testing.assert_allclose(drawn.std(0), 2.0 * math.sqrt(2), rtol=0.05)
    assert not np.array_equal(
        noisy_counts(RIGHT, noise_multiplier=2.0, noise=SecureNoise()),
        noisy_counts(RIGHT, noise_multiplier=2.0, noise=SecureNoise()),
    )


@pytest.mark.parametrize(
    ("counts", "accuracy"),
    [((30, 60), 0.5), ((70, 60), 1.0), ((-3, 60), 0.0), ((3, 0.5), None), ((3, -8), None)],
)
def test_the_share_that_counts_tell(counts: tuple[float, float], accuracy: float | None) -> None:
    assert accuracy_of(np.array(counts, np.float32)) == accuracy
