import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedward.sims.describe import gini, hellinger, skew


def test_hellinger_of_same_disjoint_and_half_shared_distributions() -> None:
    counts = np.array([[5, 5, 0], [50, 50, 0], [0, 0, 3], [9, 0, 0]])

    distances = hellinger(counts)

    half = np.sqrt(1 - np.sqrt(0.5))  # sqrt(1 - sum of sqrt(p q)), p = (1/2, 1/2), q = (1, 0)
    assert distances == pytest.approx([0, 1, half, 1, half, 1])
    assert distances[0] == 0
    assert distances[1] == 1


def test_gini_of_equal_sizes_is_exactly_zero() -> None:
    assert gini(np.array([7, 7, 7])) == 0


def test_gini_by_hand() -> None:
    # differences of all ordered pairs of 1, 2, 6: 2 * (1 + 5 + 4) = 20; over 2 * 9 * mean 3
    assert gini(np.array([6, 1, 2])) == pytest.approx(20 / 54)
    assert gini(np.array([0, 0, 0, 9])) == pytest.approx(3 / 4)
    assert gini(np.array([0, 0])) == 0


def test_skew_of_three_hospitals() -> None:
    counts = np.array([[4, 0], [0, 4], [2, 2]])

    result = skew(counts)

    half = np.sqrt(1 - np.sqrt(0.5))
    assert result.hellinger_mean == pytest.approx((1 + 2 * half) / 3)
    assert result.hellinger_max == 1
    assert result.size_gini == 0


def test_one_hospital_has_no_skew() -> None:
    result = skew(np.array([[1, 2, 3, 4, 5, 6, 7]]))

    assert (result.hellinger_mean, result.hellinger_max, result.size_gini) == (0, 0, 0)


def test_an_empty_hospital_counts_for_sizes_alone() -> None:
    result = skew(np.array([[3, 3], [0, 0], [6, 6]]))

    assert result.hellinger_max == 0
    assert result.size_gini == pytest.approx(48 / 108)  # 2 * (6 + 6 + 12) over 2 * 9 * mean 6


@given(arrays(np.int64, st.tuples(st.integers(1, 6), st.just(7)), elements=st.integers(0, 10**6)))
def test_skew_stays_within_its_bounds_and_ignores_the_order_of_hospitals(
    counts: np.ndarray,
) -> None:
    result, turned = skew(counts), skew(counts[::-1])

    assert 0 <= result.hellinger_mean <= result.hellinger_max + 1e-12
    assert result.size_gini <= 1 - 1 / len(counts) + 1e-12
    assert turned.size_gini == result.size_gini
    assert turned.hellinger_mean == pytest.approx(result.hellinger_mean)
