"""What the scores of canaries say about a claim."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.common.config import Study
from fedward.common.errors import ConfigError
from fedward.common.noise import plan_noise
from fedward.sims.audit_bound import count_right, epsilon_lower_bound, guess
from fedward.sims.audit_mechanism import curve_lower_bound, events_of

CONFIDENCE = 0.95  # of each bound by itself
GUESSED = 0.4  # of the canaries; fixed here, never chosen by what comes out


@dataclass(frozen=True)
class Verdict:
    """A claim, and what was found.

    Attributes:
        guesses: coins guessed.
        right: guesses that are right.
        claimed: epsilon of all rounds at ``delta``.
        delta: of the claim.
        bound: epsilon at least, by (epsilon, delta) alone.
        most: ``bound`` had every guess been right.
        curve: epsilon at least, by delta at every epsilon.
    """

    guesses: int
    right: int
    claimed: float
    delta: float
    bound: float
    most: float
    curve: float

    @property
    def passes(self) -> bool:
        """Whether the claim stands."""
        return max(self.bound, self.curve) < self.claimed


def judge(
    study: Study, size: int, scores: NDArray[np.float64], inside: NDArray[np.bool_]
) -> Verdict:
    """Guess by the scores, count, and hold it against the claim.

    Args:
        study: whose claim it is.
        size: the hospital's public size in units, which the claim is about.
        scores: of every canary, (n,).
        inside: who was in, (n,).

    Raises:
        ConfigError: the study claims nothing.
    """
    plan = plan_noise(study, size)
    if plan is None or study.privacy is None:
        raise ConfigError(f"{study.name} claims no privacy: there is nothing to audit")
    delta, count = study.privacy.delta_at(size), len(scores)
    events = events_of(study, plan)
    guesses = round(GUESSED * count / 2) * 2
    right = count_right(guess(scores, guesses), inside)
    bound, most = (
        epsilon_lower_bound(
            guesses=guesses, right=r, canaries=count, delta=delta, confidence=CONFIDENCE
        )
        for r in (right, guesses)
    )
    curve = curve_lower_bound(
        events, guesses=guesses, right=right, canaries=count, delta=delta, confidence=CONFIDENCE
    )
    claimed = plan.epsilon(list(range(1, study.rounds.count + 1)), delta=delta)
    return Verdict(guesses, right, claimed, delta, bound, most, curve)
