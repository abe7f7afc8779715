"""Claims, their families, and mechanisms broken on purpose."""

import numpy as np
import pytest

from fedward.common.config import Study, TrainingConfig, parse_study
from fedward.common.messages import Order, Task
from fedward.common.noise import plan_noise
from fedward.common.privacy import GaussianEvent, deltas_of, epsilon_of
from fedward.sims.audit_mechanism import curve_lower_bound, events_of, louder, profile, tampered


def order(task: Task = "train", *, records: int | None = None) -> Order:
    return Order(
        round=2,
        task=task,
        arrays={},
        training=TrainingConfig(),
        learning_rate=1.0,
        resolution=48,
        noise_multiplier=2.0,
        clipping_norm=0.5,
        records_per_patient=records,
        seed=0,
    )


def study(model: str, batch: int) -> Study:
    return parse_study(
        {
            "name": "s",
            "training": {"model": model, "batch_size": batch},
            "privacy": {"epsilon": 3.0},
            "rounds": {"count": 4},
        }
    )


def test_a_sound_mechanism_is_left_alone() -> None:
    assert tampered(order(), None) == order()
    assert tampered(order(records=4), None) == order(records=4)


def test_no_noise_is_hardly_any() -> None:
    assert tampered(order(), "no-noise").noise_multiplier == 1e-6
    assert tampered(order(), "no-noise").clipping_norm == 0.5


def test_no_clipping_keeps_the_noise_that_is_stated() -> None:
    broken = tampered(order(), "no-clipping")
    assert broken.noise_multiplier is not None
    assert broken.noise_multiplier * broken.clipping_norm == pytest.approx(2.0 * 0.5)
    assert broken.clipping_norm > 1000
    statistics = order("statistics")  # whose bound is the features' own
    assert tampered(statistics, "no-clipping") == statistics


def test_records_for_patients_counts_images() -> None:
    assert tampered(order(records=4), "records-for-patients") == order()


@pytest.mark.parametrize(("model", "batch"), [("scatter", 0), ("lstm", 64)])
def test_a_profile_passes_through_the_claim(model: str, batch: int) -> None:
    """Delta is what the claim says at the claimed epsilon, and falls."""
    chosen = study(model, batch)
    plan = plan_noise(chosen, 200)
    assert plan is not None
    events = events_of(chosen, plan)
    assert chosen.privacy is not None
    claimed = epsilon_of(events, delta=chosen.privacy.delta_at(200))
    assert claimed == pytest.approx(plan.epsilon([1, 2, 3, 4], delta=chosen.privacy.delta_at(200)))
    assert deltas_of(events, epsilons=[claimed])[0] == pytest.approx(1e-5, rel=0.02)
    assert (np.diff(profile(events).deltas) <= 0).all()


def test_less_noise_is_a_larger_epsilon() -> None:
    events = [GaussianEvent(4.0, 1.0, 9), GaussianEvent(8.0, 1.0, 1)]
    assert [event.noise_multiplier for event in louder(events, 2.0)] == [2.0, 4.0]
    epsilons = [epsilon_of(louder(events, scale), delta=1e-5) for scale in (0.5, 1.0, 2.0)]
    assert epsilons == sorted(epsilons)


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_the_curve_bound_grows_with_right_guesses(rate: float) -> None:
    events = [GaussianEvent(2.0, rate, 4)]
    bounds = [
        curve_lower_bound(
            events, guesses=80, right=right, canaries=200, delta=1e-5, confidence=0.95
        )
        for right in (40, 60, 78)
    ]
    assert bounds[0] == 0
    assert bounds[0] < bounds[1] < bounds[2]
