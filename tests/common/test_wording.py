"""Numbers as people say them, never better than they are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward.common import wording as words


@pytest.mark.parametrize(
    ("epsilon", "delta", "bound"),
    [(0.0, 0.0, 0.5), (math.log(3), 0.0, 0.75), (0.0, 1.0, 1.0), (1e9, 0.0, 1.0)],
)
def test_the_membership_bound(epsilon: float, delta: float, bound: float) -> None:
    assert words.membership_bound(epsilon, delta) == pytest.approx(bound)


@given(st.floats(0, 100))
def test_an_epsilon_is_never_told_too_small(epsilon: float) -> None:
    told = float(words.rounded_up(epsilon))
    assert epsilon - 1e-6 <= told <= epsilon + 0.01 + 1e-6


def test_numbers_are_told_as_people_say_them() -> None:
    assert [words.many(n, "image") for n in (0, 1, 3589)] == ["0 images", "1 image", "3,589 images"]
    assert [words.duration(s) for s in (0, 59.96, 754.2, 3599.9, 4020)] == [
        "0.0 s",
        "1 min 00 s",
        "12 min 34 s",
        "1 h 0 min",
        "1 h 7 min",
    ]
    assert [words.scientific(v) for v in (None, 0.0, 1e-5, 2.5e-7)] == [
        "–",
        "0",
        "10⁻⁵",
        "2.5 × 10⁻⁷",
    ]
    assert words.rounded_up(math.inf) == "∞"
    assert words.percent(None) == "–"
