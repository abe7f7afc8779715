"""The noise that a study plans is worth the epsilon that it promises."""

import math

import pytest

from fedward.common.config import ModelName, PrivacyConfig, RoundsConfig, Study, TrainingConfig
from fedward.common.errors import ConfigError
from fedward.common.noise import plan_noise


def study(privacy: PrivacyConfig | None, model: ModelName = "scatter", batch: int = 0) -> Study:
    return Study(
        name="x",
        training=TrainingConfig(model=model, batch_size=batch),
        privacy=privacy,
        rounds=RoundsConfig(count=11),
    )


def test_no_privacy_no_plan() -> None:
    assert plan_noise(study(None), 1000) is None


def test_a_full_batch_plan_meets_its_target_at_the_last_round() -> None:
    plan = plan_noise(study(PrivacyConfig(epsilon=3)), 1000)
    assert plan is not None
    assert plan.sample_rate == 1.0
    rounds = list(range(1, 12))
    assert plan.epsilon(rounds, delta=1e-5) == pytest.approx(3, abs=1e-6)
    assert plan.epsilon(rounds[:5], delta=1e-5) < 3
    assert plan.epsilon([], delta=1e-5) == 0


@pytest.mark.parametrize("target", [{"epsilon": 3.0}, {"noise_multiplier": 8.0}])
def test_statistics_take_their_share_of_the_budget(target: dict[str, float]) -> None:
    plan = plan_noise(study(PrivacyConfig(**target, statistics_share=0.25)), 1000)
    assert plan is not None
    assert plan.step == pytest.approx(target.get("noise_multiplier", plan.step))
    assert plan.statistics is not None
    assert plan.noise_multiplier(1) == plan.statistics
    assert plan.noise_multiplier(2) == plan.step
    # mu^2 = 1/s0^2 + 10/s^2, of which the first part is a quarter
    parts = (1 / plan.statistics**2, 10 / plan.step**2)
    assert parts[0] / sum(parts) == pytest.approx(0.25)


def test_a_given_multiplier_is_calibrated_like_its_own_epsilon() -> None:
    given = plan_noise(study(PrivacyConfig(noise_multiplier=8)), 1000)
    assert given is not None
    epsilon = given.epsilon(list(range(1, 12)), delta=1e-5)
    aimed = plan_noise(study(PrivacyConfig(epsilon=epsilon)), 1000)
    assert aimed is not None
    assert aimed.step == pytest.approx(8)
    assert aimed.statistics == pytest.approx(given.statistics)


@pytest.mark.parametrize("target", [{"epsilon": 3.0}, {"noise_multiplier": 8.0}])
def test_a_share_that_leaves_nothing_to_the_steps_is_refused(target: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="statistics share of 1"):
        plan_noise(study(PrivacyConfig(**target, statistics_share=1)), 1000)


def test_sampled_steps_count_by_the_public_size() -> None:
    plan = plan_noise(study(PrivacyConfig(noise_multiplier=1.0), "lstm", batch=50), 1000)
    assert plan is not None
    assert plan.sample_rate == 0.05
    assert plan.steps_per_round == 20
    assert [event.steps for event in plan.events([1, 2, 5])] == [60]
    epsilon = plan.epsilon([1, 2, 5], delta=1e-5)
    assert 0 < epsilon < math.inf
    assert epsilon < plan.epsilon([1, 2, 3, 5], delta=1e-5)


@pytest.mark.parametrize(("model", "batch"), [("scatter", 0), ("lstm", 50)])
def test_patients_are_planned_for_as_images_are(model: ModelName, batch: int) -> None:
    """A size counts them: how many images they have changes nothing."""
    per_image = plan_noise(study(PrivacyConfig(epsilon=3), model, batch), 1000)
    for records in (1, 4, 64):
        privacy = PrivacyConfig(epsilon=3, unit="patient", records_per_patient=records)
        assert plan_noise(study(privacy, model, batch), 1000) == per_image


def test_delta_is_below_one_in_the_number_of_patients() -> None:
    private = study(PrivacyConfig(epsilon=3, delta=1e-3, unit="patient"))
    assert plan_noise(private, 990)
    for size in (1000, 25_000):
        with pytest.raises(ConfigError, match=f"below one in the {size:,} patients .* or less"):
            plan_noise(private, size)
    with pytest.raises(ConfigError, match=r"below one in the 1,000 images .* or set it to 1e-04"):
        plan_noise(study(PrivacyConfig(epsilon=3, delta=1e-3)), 1000)


@pytest.mark.parametrize(("size", "delta"), [(100, 1e-5), (10_000, 1e-5), (25_000, 4e-6)])
def test_without_a_delta_it_is_a_tenth_of_one_in_the_units_at_most(size: int, delta: float) -> None:
    privacy = PrivacyConfig(epsilon=3)
    assert privacy.delta_at(size) == pytest.approx(delta)
    stated = PrivacyConfig(epsilon=3, delta=delta)
    assert plan_noise(study(privacy), size) == plan_noise(study(stated), size)


def test_features_take_the_full_batch_whatever_the_batch_size_says() -> None:
    """Else a study with a batch size would be accounted as sampled, and claim too little."""
    plan = plan_noise(study(PrivacyConfig(epsilon=3), "scatter", batch=64), 1000)
    assert plan is not None
    assert plan.sample_rate == 1.0
    assert plan.steps_per_round == 1
