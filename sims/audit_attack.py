"""Membership inference on a released model: who of two groups was trained on, told by the loss.

A model has a lower loss on what it was trained on (Yeom et al. 2018, "Privacy Risk in Machine
Learning"). What counts is how many members are found at few false alarms (Carlini et al. 2022,
"Membership Inference Attacks From First Principles").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_ALARMS = 0.01
RESAMPLES = 400
SPREAD = 0.95  # of the resamples lie between low and high

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """An estimate, and where 95 % of its bootstrap resamples lie."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Attack:
    """How well members are told from others: the area under the ROC curve (0.5 is guessing), and
    the share of members that is found at one false alarm in a hundred (0.01 is guessing)."""

    auc: Spread
    tpr: Spread


def attack(members: Losses, others: Losses, rng: np.random.Generator) -> Attack:
    """Tell members from others by their losses, (n,) and (m,), both at least 1.

    The bootstrap draws both groups anew, with replacement (Efron 1979).
    """
    draws = [(_drawn(members, rng), _drawn(others, rng)) for _ in range(RESAMPLES)]
    return Attack(
        _spread(auc(members, others), [auc(*pair) for pair in draws]),
        _spread(found(members, others), [found(*pair) for pair in draws]),
    )


def auc(members: Losses, others: Losses) -> float:
    """How likely a random member has the lower loss than a random other; a tie counts half.

    By ranks (Mann and Whitney 1947).
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([others, members]))[: len(others)]
    least = len(others) * (len(others) + 1) / 2
    return float((ranks.sum() - least) / (len(members) * len(others)))


def found(members: Losses, others: Losses) -> float:
    """The share of members whose loss is below that of all but one in a hundred others; of fewer
    than a hundred others none is let pass."""
    allowed = int(FALSE_ALARMS * len(others))
    return float((members < np.sort(others)[allowed]).mean())


def _drawn(values: Losses, rng: np.random.Generator) -> Losses:
    return values[rng.integers(0, len(values), len(values))]


def _spread(value: float, resampled: list[float]) -> Spread:
    low, high = np.quantile(resampled, [(1 - SPREAD) / 2, (1 + SPREAD) / 2])
    return Spread(value, float(low), float(high))
