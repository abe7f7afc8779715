"""A plan's numbers are those of a hand computation, of plan_noise, and of a run."""

import math
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedward.common.config import (
    ModelName,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
    Unit,
)
from fedward.common.errors import ConfigError
from fedward.common.noise import MOST_ROUNDS, most_rounds, plan_noise
from fedward.common.privacy import gaussian_epsilon
from fedward.common.result import Result
from fedward.sims.partition import declared_size
from fedward.sims.plan import ROWS, costs_of, make_plan, shown, thinned
from fedward.sims.plan_study import epsilon_of, planned_study, public_size
from fedward.sims.recipes import recipe

sys.path.insert(0, str(Path(__file__).parent))
from conftest import TINY, Fedward


def study(
    model: ModelName = "scatter", batch: int = 0, rounds: int = 11, **privacy: float
) -> Study:
    return Study(
        name="x",
        training=TrainingConfig(model=model, batch_size=batch),
        privacy=PrivacyConfig(**(privacy or {"epsilon": 3.0})),
        rounds=RoundsConfig(count=rounds),
    )


def test_full_batches_by_hand() -> None:
    """mu^2 = 1/s0^2 + 10/s^2; with a tenth of it for the statistics and s = 5 it is 10/25/0.9."""
    made = make_plan(study(noise_multiplier=5.0, statistics_share=0.1), 1000)
    mu = math.sqrt(0.4 / 0.9)
    assert made.epsilon == pytest.approx(gaussian_epsilon(mu=mu, delta=1e-5), rel=1e-9)
    assert made.statistics_noise_multiplier == pytest.approx(1 / (mu * math.sqrt(0.1)))
    assert made.costs[0].epsilon == pytest.approx(
        gaussian_epsilon(mu=mu * math.sqrt(0.1), delta=1e-5), rel=1e-9
    )
    assert (made.rounds, made.steps, made.steps_per_round, made.sample_rate) == (11, 10, 1, 1.0)
    assert [cost.round for cost in made.costs] == list(range(1, 12))


def test_a_known_pair_of_mu_and_epsilon() -> None:
    """mu = 1 at delta 1e-5 is epsilon 4.377 (Balle & Wang 2018, theorem 8, solved by hand)."""
    one_step = study("lstm", rounds=1, noise_multiplier=1.0)
    made = make_plan(one_step, 1000)
    phi, epsilon = math.erfc, made.epsilon
    delta = 0.5 * phi((epsilon - 0.5) / math.sqrt(2)) - math.exp(epsilon) * 0.5 * phi(
        (epsilon + 0.5) / math.sqrt(2)
    )
    assert delta == pytest.approx(1e-5, rel=1e-9)
    assert epsilon == pytest.approx(4.377, abs=1e-3)
    assert made.statistics_noise_multiplier is None


@pytest.mark.parametrize("name", ["fer-private-8", "fer-private-1", "fer-pooled-lstm-8"])
def test_it_agrees_with_the_noise_of_training(name: str) -> None:
    private = recipe(name)
    made, noise = make_plan(private, 2900), plan_noise(private, 2900)
    assert noise is not None
    assert made.noise_multiplier == noise.step
    assert made.statistics_noise_multiplier == noise.statistics
    assert (made.sample_rate, made.steps_per_round) == (noise.sample_rate, noise.steps_per_round)
    assert made.accountant == noise.accountant()
    for cost in made.costs:
        assert cost.epsilon == noise.epsilon(list(range(1, cost.round + 1)), delta=1e-5)
    assert made.epsilon == made.costs[-1].epsilon <= private.privacy.epsilon
    assert made.epsilon == pytest.approx(private.privacy.epsilon, rel=1e-3)


def test_it_agrees_with_a_run(fedward: Fedward, tmp_path: Path) -> None:
    private = {
        **TINY,
        "data": {"synthetic_patients": 30, "synthetic_images_per_patient": 2},
        "hospitals": {"count": 2},
        "privacy": {"epsilon": 3, "delta": 1e-3},
        "rounds": {"count": 2},
    }
    config = tmp_path / "private.yaml"
    config.write_text(yaml.safe_dump(private))
    done = fedward("simulate", "--config", config, "--out", tmp_path / "run", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    made = Study.model_validate(private)
    for hospital in Result.model_validate_json(done.stdout).hospitals:
        plan = make_plan(made, declared_size(hospital.examples))
        assert plan.epsilon == hospital.epsilon
        assert plan.noise_multiplier == hospital.noise_multiplier
        assert plan.steps == hospital.steps


@pytest.mark.parametrize("made", [study(), study("lstm", batch=50, rounds=5)])
def test_every_round_adds_something_and_all_add_up(made: Study) -> None:
    costs = make_plan(made, 1000).costs
    assert all(cost.adds > 0 for cost in costs)
    assert sum(cost.adds for cost in costs) == pytest.approx(costs[-1].epsilon)


@given(st.integers(1, 5000))
def test_a_table_is_short_and_has_both_ends(count: int) -> None:
    rounds = shown(count)
    assert len(rounds) <= ROWS
    assert (rounds[0], rounds[-1]) == (1, count)
    assert rounds == sorted(set(rounds))
    if count <= ROWS:
        assert rounds == list(range(1, count + 1))


def test_a_thinned_table_adds_means() -> None:
    costs = costs_of([(number, number**0.5) for number in range(1, 31)])
    short = thinned(costs)
    assert [cost.round for cost in short] == [1, *range(3, 31, 3)]
    assert short[1].adds == pytest.approx((3**0.5 - 1) / 2)
    assert short[-1].epsilon == costs[-1].epsilon
    assert thinned(costs[:12]) == costs[:12]


def test_sampled_batches_are_accounted_for_where_shown_alone_unless_asked() -> None:
    sampled = study("lstm", batch=500, rounds=14, noise_multiplier=4.0)
    assert [cost.round for cost in make_plan(sampled, 1000).costs] == shown(14)
    full = make_plan(sampled, 1000, every=True).costs
    assert [cost.round for cost in full] == list(range(1, 15))


@pytest.mark.parametrize("private", [study(), study("lstm", batch=250)])
def test_the_most_rounds_fit_and_one_more_does_not(private: Study) -> None:
    made = planned_study(private, 1000, epsilon=4.0, noise_multiplier=6.0)
    count = made.rounds.count
    assert epsilon_of(made, 1000) <= 4.0
    more = made.model_copy(update={"rounds": RoundsConfig(count=count + 1)})
    assert epsilon_of(more, 1000) > 4.0
    assert make_plan(made, 1000).epsilon == epsilon_of(made, 1000)


def test_the_number_of_full_batch_rounds_by_hand() -> None:
    """n steps of multiplier 10 have mu^2 = n / 100: at 36 steps mu is 0.6."""
    limit = gaussian_epsilon(mu=0.6, delta=1e-5)
    made = planned_study(study("lstm"), 1000, epsilon=limit * 1.0001, noise_multiplier=10.0)
    assert made.rounds.count == 36


@given(st.integers(0, MOST_ROUNDS + 5))
def test_bisection_finds_any_number(most: int) -> None:
    asked: list[int] = []

    def within(count: int) -> bool:
        asked.append(count)
        return count <= most

    assert most_rounds(within) == min(most, MOST_ROUNDS)
    assert max(asked) <= max(2 * most, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epsilon": 3.0, "noise_multiplier": 2.0, "rounds": 9}, "any two of them give the third"),
        ({"epsilon": -1.0}, "privacy.epsilon"),
        ({"epsilon": math.nan}, "privacy.epsilon"),
        ({"epsilon": 1e6}, "at most 100"),
        ({"epsilon": 0.0, "noise_multiplier": 2.0}, "above 0"),
        ({"epsilon": math.inf, "noise_multiplier": 2.0}, "at most 100"),
        ({"noise_multiplier": 0.01}, "give 0.1 or more"),
        ({"epsilon": 0.1, "noise_multiplier": 1.0}, "more epsilon or a larger noise multiplier"),
        ({"rounds": 0}, "rounds.count"),
        ({"delta": 0.5}, "privacy.delta"),
    ],
)
def test_what_cannot_be_planned(options: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        planned_study(study(), 1000, **options)


def test_a_study_without_privacy_needs_an_epsilon() -> None:
    open_study = recipe("fer-compact")
    with pytest.raises(ConfigError, match=r"take a private recipe .* or .* --epsilon"):
        planned_study(open_study, 1000)
    made = planned_study(open_study, 1000, epsilon=8.0)
    assert made.privacy is not None
    assert (made.privacy.epsilon, made.training.calibrate) == (8.0, False)


@pytest.mark.parametrize("patients", [0, -3])
def test_nobody_is_no_hospital(patients: int) -> None:
    with pytest.raises(ConfigError, match=f"{patients} patients .* with --patients"):
        public_size(patients, "patient")


def test_a_size_is_what_the_hospital_states() -> None:
    assert public_size(2937, "image") == 2900


def test_too_little_noise_stops_at_the_round_that_is_too_much() -> None:
    with pytest.raises(ConfigError, match=r"passes 100 by round 1,.* more noise or fewer rounds"):
        make_plan(study("lstm", batch=50, noise_multiplier=0.1), 1000)


@pytest.mark.parametrize(
    ("delta", "said"),
    [(5e-4, "above a tenth of one"), (1e-4, None)],
)
def test_delta_is_held_against_the_size(delta: float, said: str | None) -> None:
    warnings = make_plan(study(epsilon=3.0, delta=delta), 1000).warnings
    assert len(warnings) == (said is not None)
    if said:
        assert said in warnings[0]
        assert "set it to 1.0e-04 or less" in warnings[0]


@pytest.mark.parametrize("unit", ["image", "patient"])
def test_a_delta_that_is_too_large_is_refused(unit: Unit) -> None:
    private = study().model_copy(
        update={"privacy": PrivacyConfig(epsilon=3, delta=1e-3, unit=unit)}
    )
    with pytest.raises(ConfigError, match=f"not below one in the 1,000 {unit}s"):
        make_plan(private, 1000)


def test_what_a_plan_warns_of() -> None:
    rounds = RoundsConfig(count=1, participation=0.5)
    said = " ".join(make_plan(study().model_copy(update={"rounds": rounds}), 1000).warnings)
    assert "trains nothing" in said
    assert "50% of the hospitals" in said
