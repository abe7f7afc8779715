"""Accounting against closed forms, Opacus and dp-accounting; calibration; refusals."""

import math
import subprocess
import sys
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fedward.common.errors import ConfigError
from fedward.common.privacy import (
    EXACT,
    NUMERIC,
    GaussianEvent,
    _sampled_epsilon,
    accountant_name,
    deltas_of,
    epsilon_of,
    gaussian_epsilon,
    gaussian_mu,
    mu_for,
    noise_multiplier_for,
    split_budget,
)

DELTA = 1e-5


def delta_of(epsilon: float, mu: float) -> float:
    """Balle & Wang 2018, theorem 8, written down plainly."""
    near, far = norm.cdf(mu / 2 - epsilon / mu), norm.cdf(-mu / 2 - epsilon / mu)
    return float(near - math.exp(epsilon) * far)


@given(mu=st.floats(0.05, 6), delta=st.floats(1e-9, 1e-2))
@settings(max_examples=60, deadline=None)
def test_one_gaussian_matches_the_closed_form(mu: float, delta: float) -> None:
    epsilon = epsilon_of([GaussianEvent(1 / mu)], delta=delta)
    if epsilon == 0:
        assert delta_of(0, mu) <= delta * (1 + 1e-6)
    else:
        assert delta_of(epsilon, mu) == pytest.approx(delta, rel=1e-4)


@pytest.mark.parametrize(("epsilon", "mu"), [(1, 0.268), (3, 0.719), (8, 1.666)])
def test_known_budgets(epsilon: float, mu: float) -> None:
    assert mu_for(epsilon=epsilon, delta=DELTA) == pytest.approx(mu, abs=6e-4)
    assert gaussian_epsilon(mu=mu_for(epsilon=epsilon, delta=DELTA), delta=DELTA) <= epsilon


@given(st.lists(st.tuples(st.floats(0.5, 50), st.integers(1, 40)), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_full_batches_compose_by_adding_mu_squared(steps: list[tuple[float, int]]) -> None:
    events = [GaussianEvent(sigma, steps=count) for sigma, count in steps]
    mu = math.sqrt(sum(count / sigma**2 for sigma, count in steps))
    assert gaussian_mu(events) == pytest.approx(mu, rel=1e-12)
    assert epsilon_of(events, delta=DELTA) == epsilon_of([GaussianEvent(1 / mu)], delta=DELTA) or (
        epsilon_of(events, delta=DELTA)
        == pytest.approx(epsilon_of([GaussianEvent(1 / mu)], delta=DELTA), rel=1e-6)
    )


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"), [(1.0, 0.05, 300), (2.0, 0.2, 50), (0.8, 0.01, 200)]
)
def test_sampled_batches_agree_with_opacus(sigma: float, rate: float, steps: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant, RDPAccountant

        prv, rdp = PRVAccountant(), RDPAccountant()
        for accountant in (prv, rdp):
            accountant.history = [(sigma, rate, steps)]
        near = prv.get_epsilon(DELTA, eps_error=0.01)
        above = rdp.get_epsilon(DELTA)
    epsilon = epsilon_of([GaussianEvent(sigma, rate, steps)], delta=DELTA)
    assert epsilon == pytest.approx(near, abs=0.015)
    assert epsilon <= above


@pytest.mark.parametrize(
    ("sigma", "rate", "steps"),
    [(0.6, 0.02, 60), (1.5, 0.3, 10), (8.0, 0.5, 20), (1.0, 0.01, 100), (5.0, 0.05, 200)],
)
def test_sampled_batches_cost_at_most_a_thousandth_more_than_finely_discretised(
    sigma: float, rate: float, steps: int
) -> None:
    event = GaussianEvent(sigma, rate, steps)
    finer = _sampled_epsilon([event], DELTA, 1e-4)
    assert finer <= epsilon_of([event], delta=DELTA) <= 1.001 * finer


def test_full_batches_agree_with_dp_accounting_and_stay_below_opacus_rdp() -> None:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants.analysis import rdp as renyi
    events = [GaussianEvent(8.0), GaussianEvent(4.0, steps=30)]
    accountant = PLDAccountant()
    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    bound = 0.0
    for event in events:
        accountant.compose(dp_accounting.GaussianDpEvent(event.noise_multiplier), event.steps)
        bound = bound + renyi.compute_rdp(
            q=1.0, noise_multiplier=event.noise_multiplier, steps=event.steps, orders=orders
        )
    epsilon = epsilon_of(events, delta=DELTA)
    assert epsilon == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)
    assert epsilon <= renyi.get_privacy_spent(orders=orders, rdp=bound, delta=DELTA)[0]


def test_mixed_batches_cost_more_than_their_parts() -> None:
    sampled, whole = GaussianEvent(1.0, 0.05, 100), GaussianEvent(5.0)
    together = epsilon_of([sampled, whole], delta=DELTA)
    assert together > epsilon_of([sampled], delta=DELTA)
    assert together > epsilon_of([whole], delta=DELTA)
    assert accountant_name([sampled, whole]) == NUMERIC
    assert accountant_name([whole]) == EXACT


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_deltas_are_those_at_which_epsilon_is_claimed(rate: float) -> None:
    events = [GaussianEvent(2.0, rate, 5)]
    epsilons = [epsilon_of(events, delta=delta) for delta in (1e-2, 1e-5)]
    assert deltas_of(events, epsilons=epsilons) == pytest.approx([1e-2, 1e-5], rel=0.02)
    assert deltas_of([], epsilons=[0.0, 1.0]) == [0.0, 0.0]
    with pytest.raises(ConfigError, match="zero or more"):
        deltas_of(events, epsilons=[-1.0])


def test_nothing_released_costs_nothing() -> None:
    assert epsilon_of([], delta=DELTA) == 0
    assert epsilon_of([GaussianEvent(1.0, steps=0)], delta=DELTA) == 0


@given(
    epsilon=st.floats(0.05, 30),
    delta=st.floats(1e-8, 1e-3),
    share=st.floats(0.01, 0.99),
    steps=st.integers(1, 300),
)
@settings(max_examples=60, deadline=None)
def test_a_split_budget_is_spent_and_never_exceeded(
    epsilon: float, delta: float, share: float, steps: int
) -> None:
    statistics, gradient = split_budget(
        epsilon=epsilon, delta=delta, statistics_share=share, gradient_steps=steps
    )
    events = [GaussianEvent(statistics), GaussianEvent(gradient, steps=steps)]
    spent = epsilon_of(events, delta=delta)
    assert epsilon * (1 - 1e-4) <= spent <= epsilon * (1 + 1e-7)
    assert 1 / statistics**2 == pytest.approx(share * gaussian_mu(events) ** 2)


@pytest.mark.parametrize(
    ("epsilon", "rate", "steps"), [(8.0, 1.0, 40), (1.0, 1.0, 1), (8.0, 0.05, 100), (1.0, 0.02, 50)]
)
def test_calibrated_noise_meets_its_target(epsilon: float, rate: float, steps: int) -> None:
    sigma = noise_multiplier_for(epsilon=epsilon, delta=DELTA, sample_rate=rate, steps=steps)
    assert epsilon_of([GaussianEvent(sigma, rate, steps)], delta=DELTA) <= epsilon * (1 + 1e-9)
    assert epsilon_of([GaussianEvent(sigma * 0.99, rate, steps)], delta=DELTA) > epsilon


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_no_noise_is_refused(sigma: float) -> None:
    with pytest.raises(ConfigError, match="noise multiplier"):
        GaussianEvent(sigma)


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 1), (1.5, 1), (math.nan, 1), (0.5, -1)])
def test_impossible_events_are_refused(rate: float, steps: int) -> None:
    with pytest.raises(ConfigError):
        GaussianEvent(1.0, rate, steps)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, math.nan])
def test_impossible_deltas_are_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="delta"):
        epsilon_of([GaussianEvent(1.0)], delta=delta)
    with pytest.raises(ConfigError, match="delta"):
        mu_for(epsilon=1, delta=delta)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_impossible_targets_are_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        noise_multiplier_for(epsilon=epsilon, delta=DELTA, sample_rate=0.1, steps=5)
    with pytest.raises(ConfigError, match="epsilon"):
        split_budget(epsilon=epsilon, delta=DELTA, statistics_share=0.1, gradient_steps=5)


def test_an_infinite_epsilon_is_never_returned() -> None:
    with pytest.raises(ConfigError, match="no finite epsilon"):
        epsilon_of([GaussianEvent(1e-300, steps=9)], delta=DELTA)
    with pytest.raises(ConfigError, match="no finite epsilon"):
        epsilon_of([GaussianEvent(1.0, 0.5, 3)], delta=1e-300)


@pytest.mark.parametrize(("share", "steps"), [(0.0, 5), (1.0, 5), (0.5, 0), (math.nan, 5)])
def test_a_split_leaves_something_to_both(share: float, steps: int) -> None:
    with pytest.raises(ConfigError, match="share"):
        split_budget(epsilon=1, delta=DELTA, statistics_share=share, gradient_steps=steps)


def test_full_batch_accounting_imports_no_slow_package() -> None:
    code = (
        "import sys; from fedward.common.privacy import *;"
        "epsilon_of([GaussianEvent(1.0)], delta=1e-5);"
        "assert not {'torch', 'opacus', 'dp_accounting'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
