"""How many rounds fit is what the ledger would let pass, one round after the other."""

import math
from datetime import date

import pytest

from fedward.client.budget import epsilon_at, refusal
from fedward.client.ledger_book import Book, Hold, StudyBook, merged
from fedward.client.ledger_entries import Request
from fedward.client.policy import Policy, StudyShares
from fedward.client.rounds_left import rounds_left, rounds_that_fit
from fedward.common.config import PrivacyConfig, RoundsConfig, Study, TrainingConfig
from fedward.common.noise import NoisePlan
from fedward.common.privacy import GaussianEvent, gaussian_epsilon

TODAY = date(2026, 5, 4)
STEP = NoisePlan(step=10.0, statistics=None, sample_rate=1.0, steps_per_round=1)


def study(**privacy: object) -> Study:
    return Study(
        name="fer",
        training=TrainingConfig(model="scatter"),
        privacy=PrivacyConfig.model_validate({"epsilon": 3.0, "unit": "patient", **privacy}),
        rounds=RoundsConfig(count=5),
    )


def book(policy: Policy, *, total: float | None = None) -> Book:
    """An empty one; with a total of its own, any study may take all of it."""
    if total is not None:
        shares = StudyShares()
        policy = policy.model_copy(update={"epsilon_total": total, "epsilon_per_study": shares})
    return Book(public_key="0" * 64, policy=policy)


def test_full_batches_by_hand(policy: Policy) -> None:
    """mu^2 = n / 100: at 9 steps mu is 0.3."""
    limit = gaussian_epsilon(mu=0.3, delta=policy.delta) * 1.00001
    assert rounds_that_fit(book(policy, total=limit), STEP, "fer")[0] == 9
    held = Hold(study="other", reserved=(GaussianEvent(10.0, 1.0, 4),))
    charged = book(policy, total=limit).model_copy(update={"holds": {2: held}})
    assert rounds_that_fit(charged, STEP, "fer")[0] == 5
    done = StudyBook(spent=(GaussianEvent(10.0, 1.0, 9),), last_run="r", last_time="t")
    full = book(policy, total=limit).model_copy(update={"studies": {"fer": done}})
    assert rounds_that_fit(full, STEP, "fer")[0] == 0


@pytest.mark.parametrize("statistics", [None, 4.0])
def test_the_ledger_lets_pass_as_many(policy: Policy, statistics: float | None) -> None:
    plan = NoisePlan(step=2.5, statistics=statistics, sample_rate=1.0, steps_per_round=1)
    total, share = rounds_that_fit(book(policy), plan, "fer")
    passed = 0
    while True:
        events = tuple(plan.events([passed + 1]))
        request = Request("fer", "r", passed, "scatter", "patient", 1000, events)
        now = _book_after(policy, plan, passed)
        if refusal(now, request, today=TODAY) is not None:
            break
        passed += 1
    assert 0 < passed == share < total


def _book_after(policy: Policy, plan: NoisePlan, rounds: int) -> Book:
    spent = merged(plan.events(list(range(1, rounds + 1))))
    one = StudyBook(spent=spent, last_run="r", last_time="t")
    return book(policy).model_copy(update={"studies": {"fer": one}})


def test_a_sampled_study_composes_with_what_is_charged(policy: Policy) -> None:
    plan = NoisePlan(step=1.0, statistics=None, sample_rate=0.02, steps_per_round=50)
    before = (GaussianEvent(4.0, 1.0, 3),)
    held = book(policy).model_copy(update={"holds": {2: Hold(study="fer", reserved=before)}})
    total, share = rounds_that_fit(held, plan, "fer")
    for count, limit in ((total, 3.0), (share, 2.0)):
        fits = merged([*before, *plan.events(list(range(1, count + 1)))])
        more = merged([*before, *plan.events(list(range(1, count + 2)))])
        assert epsilon_at(fits, policy.delta) <= limit < epsilon_at(more, policy.delta)


def test_what_is_told(policy: Policy) -> None:
    told = rounds_left(book(policy), STEP, study(), size=1000, today=TODAY)
    assert (told.study, told.planned, told.delta) == ("fer", 5, policy.delta)
    assert told.fit == told.in_share < told.in_total
    assert told.refusal is None
    assert math.isclose(policy.delta, 1e-4)


@pytest.mark.parametrize(
    ("made", "size", "today", "said"),
    [
        (study(unit="image"), 1000, TODAY, "counts by patient"),
        (study(), 10, TODAY, "fewer than the 100"),
        (study(), 1000, date(2027, 1, 1), "valid from"),
    ],
)
def test_what_the_policy_forbids_leaves_nothing(
    policy: Policy, made: Study, size: int, today: date, said: str
) -> None:
    told = rounds_left(book(policy), STEP, made, size=size, today=today)
    assert (told.in_total, told.in_share) == (0, 0)
    assert said in (told.refusal or "")


def test_too_little_noise_leaves_nothing_and_is_not_accounted_for(policy: Policy) -> None:
    thin = NoisePlan(step=0.01, statistics=None, sample_rate=0.5, steps_per_round=1000)
    told = rounds_left(book(policy), thin, study(), size=1000, today=TODAY)
    assert "noise multiplier 0.01 is below 0.5" in (told.refusal or "")
