"""Every epsilon that a recipe states is confirmed by an accountant that did not plan its noise.

Full batches are planned in closed form: here dp-accounting composes the same releases, round after
round, by privacy loss distributions, and by Renyi divergences as a bound from above. Sampled
batches are planned by dp-accounting: here Opacus composes them, by its PRV and RDP accountants.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

from fedward.common.config import Study
from fedward.common.models import is_linear
from fedward.common.noise import NoisePlan, plan_noise
from fedward.common.privacy import GaussianEvent, epsilon_of, noise_multiplier_for
from fedward.sims.recipes import RECIPES, recipe

DELTA = 1e-5
PRV_ERROR = 0.01  # which Opacus's answer has on top
PRIVATE = [name for name in RECIPES if recipe(name).privacy is not None]
SIZES = (900, 2871, 28709)  # a small and a middling hospital of ten, and all of FER-2013 in one


@dataclass(frozen=True)
class Release:
    """What goes out once: a Gaussian mechanism on a batch of everything, or of a sample."""

    noise_multiplier: float
    sample_rate: float


def releases(study: Study, plan: NoisePlan) -> list[Release]:
    """Told by the study's rounds, not by the plan's own events: statistics first, if the model
    needs them, then as many steps in every round as its epochs hold."""
    rounds = study.rounds.count
    if not is_linear(study.training.model):
        return [Release(plan.step, plan.sample_rate)] * rounds * plan.steps_per_round
    assert plan.statistics is not None
    return [Release(plan.statistics, 1.0)] + [Release(plan.step, 1.0)] * (rounds - 1)


def by_dp_accounting(accountant: dp_accounting.PrivacyAccountant, released: list[Release]) -> float:
    for release in released:
        accountant.compose(dp_accounting.GaussianDpEvent(release.noise_multiplier))
    return float(accountant.get_epsilon(DELTA))


def by_opacus(events: Sequence[tuple[float, float, int]], delta: float) -> tuple[float, float]:
    """Epsilon by PRV and by RDP, of (noise multiplier, sample rate, steps)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus's remarks on orders and on what it imports
        from opacus.accountants import PRVAccountant, RDPAccountant

        prv, rdp = PRVAccountant(), RDPAccountant()
        prv.history = rdp.history = list(events)
        return float(prv.get_epsilon(delta, eps_error=PRV_ERROR)), float(rdp.get_epsilon(delta))


def test_there_are_private_recipes_and_they_keep_one_delta() -> None:
    assert {"fer-private-8", "fer-private-3", "fer-private-1"} <= set(PRIVATE)
    assert {recipe(name).privacy.delta for name in PRIVATE} == {DELTA}  # type: ignore[union-attr]


def per(unit: str, study: Study) -> Study:
    """The study with this unit of privacy."""
    assert study.privacy is not None
    privacy = {**study.privacy.model_dump(), "unit": unit}
    return Study.model_validate({**study.model_dump(), "privacy": privacy})


def test_recipes_protect_images_as_they_always_did() -> None:
    assert {recipe(name).unit for name in PRIVATE} == {"image"}


@pytest.mark.parametrize(
    ("name", "size", "unit"),
    [(name, size, "image") for name in PRIVATE for size in SIZES]
    + [(name, 900, "patient") for name in PRIVATE],
)
def test_a_recipes_epsilon_is_confirmed(name: str, size: int, unit: str) -> None:
    study = per(unit, recipe(name))
    plan = plan_noise(study, size)
    assert plan is not None
    assert study.privacy is not None
    stated = plan.epsilon(list(range(1, study.rounds.count + 1)), delta=DELTA)
    if study.privacy.epsilon is not None:
        assert stated == pytest.approx(study.privacy.epsilon, rel=2e-3)
        assert stated <= study.privacy.epsilon * (1 + 1e-6)
    released = releases(study, plan)
    if {release.sample_rate for release in released} == {1.0}:
        near = by_dp_accounting(PLDAccountant(value_discretization_interval=1e-3), released)
        above = by_dp_accounting(RdpAccountant(), released)
    else:
        steps = [(plan.step, plan.sample_rate, len(released))]
        near, above = by_opacus(steps, DELTA)
    assert near == pytest.approx(stated, rel=0.01)
    assert stated <= above <= 1.5 * stated + 0.2  # no bound at all would be above, too


# noise multiplier, sample rate and steps; the last as in a study that is gone on with
PLANS = {
    "one multiplier": [(1.1, 0.02, 1500)],
    "little noise": [(0.7, 0.01, 300)],
    "large batches": [(3.0, 0.25, 200)],
    "mixed multipliers": [(1.0, 0.05, 120), (1.6, 0.05, 300)],
    "mixed multipliers and rates": [(0.9, 0.01, 200), (1.3, 0.08, 80), (2.5, 0.2, 40)],
}


@pytest.mark.parametrize("kind", PLANS)
def test_sampled_plans_are_confirmed_by_opacus(kind: str) -> None:
    stated = epsilon_of([GaussianEvent(*event) for event in PLANS[kind]], delta=DELTA)
    prv, rdp = by_opacus(PLANS[kind], DELTA)
    assert stated == pytest.approx(prv, abs=0.015)
    assert stated <= rdp


@pytest.mark.parametrize("unit", ["image", "patient"])
@pytest.mark.parametrize(("model", "size"), [("lstm", 900), ("compact-cnn", 2871)])
def test_a_calibrated_sampled_study_is_confirmed_by_opacus(
    model: str, size: int, unit: str
) -> None:
    """The noise that a study gets for its target, in Opacus's eyes; sizes and batches count what
    is protected."""
    base = per(unit, recipe("fer-private-3"))
    training = base.training.model_copy(update={"model": model, "batch_size": 64, "epochs": 2})
    study = base.model_copy(update={"training": training})
    plan = plan_noise(study, size)
    assert plan is not None
    assert plan.statistics is None
    assert plan.sample_rate == 64 / size
    released = releases(study, plan)
    assert len(released) == base.rounds.count * 2 * -(-size // 64)
    prv, rdp = by_opacus([(plan.step, plan.sample_rate, len(released))], DELTA)
    assert prv - PRV_ERROR <= 3.0 <= rdp
    assert prv == pytest.approx(3.0, rel=0.01)


def test_full_batches_among_sampled_ones_are_confirmed_by_dp_accountings_bound() -> None:
    """A statistics release beside sampled steps, which no recipe plans but users may account."""
    sigma = noise_multiplier_for(epsilon=2.0, delta=DELTA, sample_rate=0.05, steps=100)
    stated = epsilon_of([GaussianEvent(20.0), GaussianEvent(sigma, 0.05, 100)], delta=DELTA)
    bound = RdpAccountant().compose(dp_accounting.GaussianDpEvent(20.0))
    sampled = dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(sigma))
    bound.compose(sampled, 100)
    assert 2.0 < stated <= float(bound.get_epsilon(DELTA))
