"""Means and spreads by hand."""

import numpy as np
import pytest

from fedward.common.metrics import score
from fedward.sims.over_seeds import accuracy_in_words, over_seeds


def test_two_seeds_and_one() -> None:
    labels = np.array([0, 1, 2, 3])
    all_right, half = score("x", labels, labels), score("x", labels, np.array([0, 1, 3, 2]))
    both = over_seeds([all_right, half])
    assert both.accuracy_mean == 0.75
    assert both.accuracy_std == pytest.approx(0.5 / 2**0.5)
    assert both.macro_f1_mean == pytest.approx((all_right.macro_f1 + half.macro_f1) / 2)
    assert over_seeds([half]).accuracy_std is None
    assert accuracy_in_words(0.5551, 0.0049) == "55.5 ± 0.5 %"
    assert accuracy_in_words(0.666, None) == "66.6 %"
