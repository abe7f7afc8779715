"""All runs of a search together: composed as what they are, never counted for less."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedward.common.config import Study
from fedward.common.noise import plan_noise
from fedward.common.privacy import GaussianEvent, epsilon_of, gaussian_epsilon, mu_for
from fedward.common.result import HospitalPart, Refusal, RoundPart, RoundSeconds
from fedward.sims.partition import declared_size
from fedward.sims.recipes import recipe
from fedward.sims.search_plan import candidates
from fedward.sims.search_privacy import epsilon_together, privacy_of
from fedward.sims.search_table import Finished, read_finished
from fedward.sims.studies import customised

sys.path.insert(0, str(Path(__file__).parent))
from fake_runs import write_result

DELTA = 1e-5
FULL = customised(recipe("fer-private-3"), data="x.csv", hospitals=2, rounds=4)
NETWORK = {
    "training.model": ["lstm"],
    "training.batch_size": [64],
    "privacy.epsilon": [None],
    "privacy.noise_multiplier": [1.5],  # given, so that it need not be found
}
(SAMPLED,) = (tried.study for tried in candidates(FULL, NETWORK))
SIZES = (520, 230)
SECONDS = RoundSeconds(train=0, aggregate=0, evaluate=0, engine=0)


def hospital(study: Study, number: int, rounds: int) -> HospitalPart:
    plan = plan_noise(study, declared_size(SIZES[number]))
    private = study.privacy is not None
    epsilon = plan.epsilon(list(range(1, rounds + 1)), delta=DELTA) if plan else None
    return HospitalPart(
        name=f"hospital-{number}",
        examples=SIZES[number],
        label_counts=[0] * 7,
        camera="clean",
        epsilon=epsilon,
        delta=DELTA if private else None,
        noise_multiplier=plan.step if plan else None,
        steps=0,
        accuracy=None,
        macro_f1=None,
    )


def finished(study: Study, place: Path, *, only_first_in: frozenset[int] = frozenset()) -> Finished:
    """A run of the study in which hospital-1 was not asked in some rounds, and once refused."""
    rounds = [
        RoundPart(
            round=number,
            accuracy=0,
            macro_f1=0,
            loss=0,
            participants=["hospital-0"],
            refused=[]
            if number in only_first_in
            else [Refusal(hospital="hospital-1", reason="late")],
            seconds=SECONDS,
        )
        for number in range(1, study.rounds.count + 1)
    ]
    hospitals = [hospital(study, number, len(rounds)) for number in range(study.hospitals.count)]
    write_result(study, place, accuracy=0.5, hospitals=hospitals, rounds=rounds)
    return read_finished(study, place)


def seeded(study: Study, seed: int) -> Study:
    return customised(study, seed=seed)


def test_one_run_costs_what_it_says(tmp_path: Path) -> None:
    cost = privacy_of([finished(FULL, tmp_path)])
    assert cost is not None
    assert (cost.unit, cost.delta) == ("image", DELTA)
    assert cost.epsilon_one_run == pytest.approx(3.0, rel=1e-9)
    assert cost.epsilon_all_runs == cost.epsilon_one_run
    assert cost.accountant == "exact Gaussian differential privacy"


def test_full_batches_compose_exactly_over_candidates_and_seeds(tmp_path: Path) -> None:
    """Four runs with mu each are one with 2 mu."""
    studies = [
        seeded(customised(FULL, rounds=rounds), seed) for rounds in (4, 6) for seed in (0, 1)
    ]
    runs = [finished(study, tmp_path / str(k)) for k, study in enumerate(studies)]
    cost = privacy_of(runs)
    assert cost is not None
    four = gaussian_epsilon(mu=2 * mu_for(epsilon=3.0, delta=DELTA), delta=DELTA)
    assert cost.epsilon_all_runs == pytest.approx(four, rel=1e-6)
    assert 3.0 < four < 4 * 3.0
    assert cost.epsilon_one_run == pytest.approx(3.0, rel=1e-6)


def test_sampled_runs_of_one_seed_compose_hospital_by_hospital(tmp_path: Path) -> None:
    runs = [finished(SAMPLED, tmp_path / name) for name in "ab"]
    cost = privacy_of(runs)
    assert cost is not None
    expected = []
    for size in SIZES:
        plan = plan_noise(SAMPLED, declared_size(size))
        assert plan is not None
        expected.append(epsilon_of(plan.events([1, 2, 3, 4]) * 2, delta=DELTA))
    assert cost.epsilon_all_runs == pytest.approx(max(expected), rel=1e-9)
    assert cost.accountant == "dp-accounting PLD, pessimistic"


def test_where_hospitals_differ_seeds_are_added(tmp_path: Path) -> None:
    """No dealing says which hospitals an image was at: whatever they were, it is covered."""
    runs = [finished(seeded(SAMPLED, seed), tmp_path / str(seed)) for seed in (0, 1)]
    cost = privacy_of(runs)
    assert cost is not None
    assert cost.epsilon_all_runs is not None
    assert cost.accountant.endswith(", added over seeds")
    events = [plan_noise(SAMPLED, declared_size(size)) for size in SIZES]
    for first in events:
        for second in events:
            assert first is not None
            assert second is not None
            path = [*first.events([1, 2, 3, 4]), *second.events([1, 2, 3, 4])]
            assert epsilon_of(path, delta=DELTA) <= cost.epsilon_all_runs


def test_where_a_patient_is_the_unit_the_size_is_the_number_of_patients(tmp_path: Path) -> None:
    assert SAMPLED.privacy is not None
    per_patient = SAMPLED.privacy.model_copy(update={"unit": "patient"})
    study = SAMPLED.model_copy(update={"privacy": per_patient})
    run = finished(study, tmp_path)
    patients = (130, 60)
    hospitals = [
        part.model_copy(update={"patients": count})
        for part, count in zip(run.result.hospitals, patients, strict=True)
    ]
    result = run.result.model_copy(update={"hospitals": hospitals})
    cost = privacy_of([replace(run, result=result)])
    assert cost is not None
    assert cost.unit == "patient"
    plans = [plan_noise(study, declared_size(count)) for count in patients]
    expected = [plan.epsilon([1, 2, 3, 4], delta=DELTA) for plan in plans if plan]
    assert cost.epsilon_one_run == pytest.approx(max(expected), rel=1e-9)


def test_a_round_counts_for_whom_it_asked(tmp_path: Path) -> None:
    """hospital-1 was asked in round 1 alone, and hospital-0, which bears the most, in all."""
    some = finished(FULL, tmp_path / "some", only_first_in=frozenset({2, 3, 4}))
    whole = finished(FULL, tmp_path / "whole")
    (lesser, greater) = (privacy_of([run]) for run in (some, whole))
    assert lesser is not None
    assert lesser == greater
    # Where hospitals differ, two seeds can only be added.
    cost = privacy_of([some, finished(seeded(FULL, 1), tmp_path / "other")])
    assert cost is not None
    assert cost.accountant.endswith(", added over seeds")


def test_the_smallest_delta_is_the_one_that_is_stated(tmp_path: Path) -> None:
    assert FULL.privacy is not None
    stricter = FULL.privacy.model_copy(update={"delta": 1e-7})
    runs = [
        finished(FULL, tmp_path / "a"),
        finished(FULL.model_copy(update={"privacy": stricter}), tmp_path / "b"),
    ]
    cost = privacy_of(runs)
    assert cost is not None
    assert cost.delta == 1e-7
    assert cost.epsilon_one_run > 3.0


def test_a_run_without_privacy_leaves_nothing_to_claim(tmp_path: Path) -> None:
    bare = customised(FULL, epsilon=0)
    assert privacy_of([finished(bare, tmp_path / "a")]) is None
    assert privacy_of([finished(FULL, tmp_path / "b"), finished(bare, tmp_path / "c")]) is None


def test_no_finite_epsilon_is_told_apart_from_one() -> None:
    some = {(GaussianEvent(noise_multiplier=1e-200),)}
    assert epsilon_together([some], delta=DELTA) == float("inf")
