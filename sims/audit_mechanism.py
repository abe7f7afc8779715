"""What is claimed of a hospital's mechanism, and mechanisms that are broken on purpose.

A broken mechanism claims what the sound one does. It exists so that everybody can see the audit
catch it; nothing else in Fedward can make one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from fedward.common.config import Study
from fedward.common.messages import Order
from fedward.common.noise import NoisePlan
from fedward.common.privacy import GaussianEvent, deltas_of, epsilon_of
from fedward.sims.audit_bound import Profile, largest, refuted

Broken = Literal["no-noise", "no-clipping", "records-for-patients"]
BROKEN: tuple[Broken, ...] = ("no-noise", "no-clipping", "records-for-patients")

NOT_CLIPPED = 1e4  # times the clipping norm: no gradient here is so long
SILENT = 1e-6  # noise multiplier: the mechanism refuses to run with none at all

GRID = np.concatenate([np.arange(0, 2, 0.05), np.geomspace(2, 60, 120)])
HALVINGS = 12  # of the noise that is searched for: sampled batches take a second each
LEAST_NOISE = 1 / 16  # of what is claimed: below, a family's epsilon is not told apart


def tampered(order: Order, broken: Broken | None) -> Order:
    """The order that a hospital with this broken mechanism carries out."""
    assert order.noise_multiplier is not None
    if broken == "no-noise":
        return silent(order)
    if broken == "no-clipping" and order.task == "train":
        return replace(
            order,
            clipping_norm=order.clipping_norm * NOT_CLIPPED,
            noise_multiplier=order.noise_multiplier / NOT_CLIPPED,
        )
    if broken == "records-for-patients":
        return replace(order, records_per_patient=None)
    return order


def silent(order: Order) -> Order:
    """The same order with hardly any noise."""
    return replace(order, noise_multiplier=SILENT * min(1.0, order.noise_multiplier or 1.0))


def events_of(study: Study, plan: NoisePlan) -> list[GaussianEvent]:
    """All that a hospital with this plan releases in the whole study."""
    return plan.events(list(range(1, study.rounds.count + 1)))


def profile(events: Sequence[GaussianEvent]) -> Profile:
    """What the accountant claims of these events, at many epsilons."""
    return Profile(GRID, np.array(deltas_of(events, epsilons=GRID.tolist())))


def louder(events: Sequence[GaussianEvent], scale: float) -> list[GaussianEvent]:
    """The same events with ``scale`` times less noise."""
    return [replace(event, noise_multiplier=event.noise_multiplier / scale) for event in events]


def curve_lower_bound(
    events: Sequence[GaussianEvent],
    *,
    guesses: int,
    right: int,
    canaries: int,
    delta: float,
    confidence: float,
) -> float:
    """Epsilon at this delta of the least noise, for these events, that the guesses refute; 0 where
    they refute none.

    It passes the claimed epsilon exactly where the guesses refute what the events claim.
    """

    def refutes(scale: float) -> bool:
        return scale <= 1 / LEAST_NOISE and refuted(
            profile(louder(events, scale)),
            guesses=guesses,
            right=right,
            canaries=canaries,
            confidence=confidence,
        )

    scale = largest(refutes, start=1.0, halvings=HALVINGS)
    return epsilon_of(louder(events, scale), delta=delta) if scale else 0.0
