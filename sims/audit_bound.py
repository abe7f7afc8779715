"""How much privacy was lost at least: lower bounds on epsilon from right guesses. Pure arithmetic.

Every canary is in the data or not by a fair coin of its own. Somebody who saw what was released
guesses ``guesses`` of the ``canaries`` coins, a number fixed beforehand, and is right ``right``
times. A mechanism that is private cannot be guessed that well, except by luck.

Two bounds, each of which holds by itself at the stated confidence:

``epsilon_lower_bound`` asks of the mechanism nothing but (epsilon, delta)-differential privacy
(Steinke, Nasr & Jagielski 2023, "Privacy Auditing with One (1) Training Run", theorem 5.2). Even a
mechanism without noise gives no more than the bound for guesses that are all right, which grows
with the logarithm of their number: a claim of epsilon 8 takes ten thousand of them to refute.

``refuted`` tests everything that a mechanism claims, its delta at every epsilon, at once
(Mahloujifar, Melis & Chaudhuri 2025, "Auditing f-Differential Privacy in One Run", whose recursion
this is, with abstentions). A few hundred canaries are enough.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HALVINGS = 40  # of a bisection


@dataclass(frozen=True)
class Profile:
    """What a mechanism claims: for every epsilon a delta, of equal shapes (k,), ascending."""

    epsilons: NDArray[np.float64]
    deltas: NDArray[np.float64]

    def least_wrong(self, right: float) -> float:
        """The least probability of an event without a record that has probability ``right`` with
        it: the inverse of one minus the trade-off function (Dong, Roth & Su 2019, section 2.3)."""
        grown = np.exp(self.epsilons)
        straight = (right - self.deltas) / grown
        mirrored = 1 - self.deltas - grown * (1 - right)
        return max(0.0, float(straight.max()), float(mirrored.max()))


def p_value(*, guesses: int, right: int, canaries: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses are at most, if the mechanism is (epsilon, delta) private.

    Raises:
        ValueError: numbers that no audit can have.
    """
    _check(guesses, right, canaries)
    if not (epsilon >= 0 and 0 <= delta < 1):
        raise ValueError(f"no mechanism is ({epsilon}, {delta})-differentially private")
    from scipy.stats import binom

    lucky = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, lucky))
    if right == 0 or delta == 0:
        return tail
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, lucky))
    worst = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * canaries * delta * worst)


def epsilon_lower_bound(
    *, guesses: int, right: int, canaries: int, delta: float, confidence: float
) -> float:
    """The largest epsilon that the guesses refute at this delta; 0 if they refute none.

    Raises:
        ValueError: numbers that no audit can have.
    """

    def refutes(epsilon: float) -> bool:
        chance = p_value(
            guesses=guesses, right=right, canaries=canaries, epsilon=epsilon, delta=delta
        )
        return chance < 1 - confidence

    return largest(refutes, start=1.0)


def refuted(claim: Profile, *, guesses: int, right: int, canaries: int, confidence: float) -> bool:
    """Whether so many right guesses are less likely than 1 - confidence under the claim.

    Suppose they are as likely. Flipping one canary's coin turns a right guess into a wrong one, so
    the claim bounds how likely "right on this canary, and at least i right in all" is by how likely
    "wrong on it, and at least i - 1 right in all" is. Going down from ``right`` that says how much
    probability every smaller number of right guesses has at least. More than 1 in all refutes it.

    Raises:
        ValueError: numbers that no audit can have.
    """
    _check(guesses, right, canaries)
    tail = 1 - confidence
    hits, misses = tail * right / canaries, tail * (guesses - right) / canaries
    for fewer in range(right - 1, -1, -1):
        more = max(misses, claim.least_wrong(hits))
        hits += fewer / (guesses - fewer) * (more - misses)
        misses = more
        if hits + misses > guesses / canaries:
            return True
    return False


def largest(holds: Callable[[float], bool], *, start: float, halvings: int = HALVINGS) -> float:
    """The largest positive value at which a condition holds that ceases to; 0 where it never does.

    What is returned fulfils the condition: rounding makes a lower bound no larger.
    """
    low, high = 0.0, start
    while holds(high):
        low, high = high, 2 * high
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def guess(scores: NDArray[np.float64], guesses: int) -> NDArray[np.int8]:
    """Guesses (n,) from scores (n,): 1 (in) for the highest, -1 (out) for the lowest, each half of
    ``guesses``, 0 (none) between.

    Raises:
        ValueError: an odd number, or more than there are scores.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise ValueError(f"{guesses} guesses about {len(scores)} canaries: an even number of them")
    order = np.argsort(scores, kind="stable")
    answers = np.zeros(len(scores), np.int8)
    answers[order[: guesses // 2]] = -1
    answers[order[len(scores) - guesses // 2 :]] = 1
    return answers


def count_right(answers: NDArray[np.int8], inside: NDArray[np.bool_] | Sequence[bool]) -> int:
    """How many guesses that were made are right."""
    coins = np.where(np.asarray(inside), 1, -1)
    return int((answers * coins > 0).sum())


def _check(guesses: int, right: int, canaries: int) -> None:
    if not 0 <= right <= guesses <= canaries or guesses == 0:
        raise ValueError(f"{right} right of {guesses} guesses about {canaries} canaries")
