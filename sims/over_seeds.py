"""Scores of the same study with several seeds: their mean, their spread, and both in words."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from fedward.common.result import TestPart


class OverSeeds(NamedTuple):
    """Fractions; the standard deviation is the sample's, None for one seed."""

    accuracy_mean: float
    accuracy_std: float | None
    macro_f1_mean: float


def over_seeds(tests: Sequence[TestPart]) -> OverSeeds:
    """What the tests of one or more seeds come to."""
    accuracies = [test.accuracy for test in tests]
    return OverSeeds(
        statistics.fmean(accuracies),
        statistics.stdev(accuracies) if len(tests) > 1 else None,
        statistics.fmean(test.macro_f1 for test in tests),
    )


def accuracy_in_words(mean: float, std: float | None) -> str:
    """Such as "55.5 ± 0.5 %"."""
    spread = "" if std is None else f" ± {100 * std:.1f}"
    return f"{100 * mean:.1f}{spread} %"
