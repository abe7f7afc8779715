"""Lower bounds on epsilon from guesses: by hand, by simulation of mechanisms that are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binom

from fedward.common.privacy import GaussianEvent, deltas_of, gaussian_epsilon, gaussian_mu
from fedward.sims.audit_bound import (
    Profile,
    count_right,
    epsilon_lower_bound,
    guess,
    largest,
    p_value,
    refuted,
)

EPSILONS = np.linspace(0, 12, 121)


def gaussian(mu: float) -> Profile:
    event = GaussianEvent(1 / mu)
    return Profile(EPSILONS, np.array(deltas_of([event], epsilons=EPSILONS.tolist())))


def bound(guesses: int, right: int, *, canaries: int | None = None, delta: float = 0.0) -> float:
    return epsilon_lower_bound(
        guesses=guesses,
        right=right,
        canaries=canaries or guesses,
        delta=delta,
        confidence=0.95,
    )


def test_without_delta_the_p_value_is_a_binomial_tail() -> None:
    """Randomized response with e^epsilon = 3 is right with 3/4: of four guesses all with (3/4)^4,
    and three or more with that and 4 (3/4)^3 (1/4)."""
    epsilon = math.log(3)
    for right, chance in ((4, 81 / 256), (3, 189 / 256), (0, 1.0)):
        value = p_value(guesses=4, right=right, canaries=9, epsilon=epsilon, delta=0.0)
        assert value == pytest.approx(chance, rel=1e-12)


def test_delta_adds_what_it_may() -> None:
    """Two guesses, both right, epsilon 0: P = 1/4; below it lie 1/2 (one right) and 1/4 (none), so
    the worst of (1/2) / 1 and (3/4) / 2 is 1/2, times 2 m delta."""
    value = p_value(guesses=2, right=2, canaries=10, epsilon=0.0, delta=0.01)
    assert value == pytest.approx(1 / 4 + 2 * 10 * 0.01 / 2, rel=1e-12)
    assert p_value(guesses=2, right=2, canaries=10, epsilon=0.0, delta=0.5) == 1.0


@pytest.mark.parametrize("guesses", [10, 100, 1000])
def test_all_right_gives_what_randomized_response_would_reach_once_in_twenty(guesses: int) -> None:
    lucky = 0.05 ** (1 / guesses)
    assert bound(guesses, guesses) == pytest.approx(math.log(lucky / (1 - lucky)), abs=1e-6)


def test_half_right_shows_nothing() -> None:
    assert bound(100, 50) == 0
    assert bound(100, 0) == 0
    assert bound(4, 4) == 0  # 1/16 by luck


def test_more_right_shows_more_and_delta_and_other_canaries_show_less() -> None:
    bounds = [bound(100, right) for right in range(50, 101)]
    assert bounds == sorted(bounds)
    assert bound(100, 90, delta=1e-5) < bound(100, 90)
    assert bound(100, 90, canaries=1000, delta=1e-5) < bound(100, 90, delta=1e-5)


def test_the_bound_is_where_the_tail_crosses() -> None:
    epsilon = bound(200, 150)
    lucky = 1 / (1 + math.exp(-epsilon))
    assert binom.sf(149, 200, lucky) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_randomized_response_is_hardly_ever_overestimated(epsilon: float) -> None:
    """It is epsilon-private exactly, and its own answers are the best guesses there are."""
    rng = np.random.default_rng(1)
    lucky = 1 / (1 + math.exp(-epsilon))
    found = {right: bound(300, right) for right in range(301)}
    bounds = np.array([found[right] for right in rng.binomial(300, lucky, 4000)])
    assert (bounds > epsilon).mean() <= 0.05
    assert np.median(bounds) > 0.5 * epsilon


@pytest.mark.parametrize("mu", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("guesses", [100, 400])
def test_true_claims_of_gaussian_mechanisms_are_hardly_ever_refuted(
    mu: float, guesses: int
) -> None:
    """Canaries that do not meet, scored by the best test there is."""
    rng = np.random.default_rng(2)
    claim, delta = gaussian(mu), 1e-5
    epsilon = gaussian_epsilon(mu=gaussian_mu([GaussianEvent(1 / mu)]), delta=delta)
    wrong_curve, wrong = 0, 0
    for _ in range(200):
        inside = rng.random(400) < 0.5
        right = count_right(guess(rng.standard_normal(400) + mu * inside, guesses), inside)
        wrong_curve += refuted(claim, guesses=guesses, right=right, canaries=400, confidence=0.95)
        wrong += bound(guesses, right, canaries=400, delta=delta) > epsilon
    assert wrong_curve <= 10
    assert wrong <= 10


def test_half_the_noise_is_refuted_where_epsilon_and_delta_alone_do_not_see_it() -> None:
    rng = np.random.default_rng(3)
    inside = rng.random(1000) < 0.5
    scores = rng.standard_normal(1000) + 2 * 1.667 * inside
    right = count_right(guess(scores, 400), inside)
    counts = {"guesses": 400, "right": right, "canaries": 1000}
    assert refuted(gaussian(1.667), **counts, confidence=0.95)
    assert not refuted(gaussian(2 * 1.667), **counts, confidence=0.95)
    assert bound(400, right, canaries=1000, delta=1e-5) < 8


@pytest.mark.parametrize("mu", [0.5, 2.0])
@pytest.mark.parametrize("right", [0.01, 0.3, 0.9])
def test_a_profile_knows_the_gaussian_trade_off(mu: float, right: float) -> None:
    """Phi(Phi^-1(right) - mu) is the least; finitely many epsilons come close from below."""
    from scipy.special import ndtri

    exact = float(ndtr(ndtri(right) - mu))
    fine = np.linspace(0, 12, 2401)
    claim = Profile(fine, np.array(deltas_of([GaussianEvent(1 / mu)], epsilons=fine.tolist())))
    assert claim.least_wrong(right) == pytest.approx(exact, rel=1e-3)
    assert gaussian(mu).least_wrong(right) <= exact * (1 + 1e-9)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 60))
def test_luck_alone_refutes_less_than_one_time_in_twenty(
    guesses: int, right: int, more: int
) -> None:
    """A mechanism that tells nothing: guesses are coins."""
    right = min(right, guesses)
    nothing = Profile(np.zeros(1), np.zeros(1))
    if refuted(nothing, guesses=guesses, right=right, canaries=guesses + more, confidence=0.95):
        assert binom.sf(right - 1, guesses, 0.5) < 0.05 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("guesses", "right", "canaries"), [(0, 0, 5), (5, 6, 9), (10, 5, 9), (5, -1, 9)]
)
def test_impossible_counts_are_errors(guesses: int, right: int, canaries: int) -> None:
    counts = {"guesses": guesses, "right": right, "canaries": canaries}
    with pytest.raises(ValueError, match="right of"):
        p_value(**counts, epsilon=1.0, delta=0.0)
    with pytest.raises(ValueError, match="right of"):
        refuted(gaussian(1.0), **counts, confidence=0.95)


@pytest.mark.parametrize(("epsilon", "delta"), [(-1.0, 0.0), (1.0, 1.0), (math.nan, 0.0)])
def test_impossible_privacy_is_an_error(epsilon: float, delta: float) -> None:
    with pytest.raises(ValueError, match="no mechanism"):
        p_value(guesses=2, right=1, canaries=2, epsilon=epsilon, delta=delta)


def test_the_largest_value_at_which_a_condition_holds() -> None:
    assert largest(lambda x: x < 5, start=1.0) == pytest.approx(5)
    assert largest(lambda x: x < 0.3, start=1.0) == pytest.approx(0.3)
    assert largest(lambda _: False, start=1.0) == 0


def test_the_highest_are_guessed_in_and_the_lowest_out() -> None:
    answers = guess(np.array([3.0, -1.0, 0.5, 2.0, -4.0]), 4)
    assert answers.tolist() == [1, -1, 0, 1, -1]
    assert count_right(answers, [True, True, True, False, False]) == 2


@pytest.mark.parametrize("guesses", [0, 3, 6])
def test_guesses_come_in_pairs(guesses: int) -> None:
    with pytest.raises(ValueError, match="an even number"):
        guess(np.zeros(5), guesses)
