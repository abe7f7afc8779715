"""What the noise is worth: epsilon of a sequence of Gaussian mechanisms, and noise for an epsilon.

One record is added or removed; every event clips what a record adds to a sum to L2 norm C and adds
Gaussian noise of standard deviation ``noise_multiplier * C`` to every coordinate.

Full batches compose exactly: steps with multipliers s_i are together one Gaussian mechanism with
mu^2 = sum(1 / s_i^2) (Dong, Roth & Su 2019, "Gaussian Differential Privacy", corollary 3.3), whose
delta(epsilon) is known in closed form (Balle & Wang 2018, theorem 8). Poisson-sampled batches are
composed by dp-accounting's privacy loss distributions with pessimistic rounding (Doroshenko et
al. 2022), which never claim less than the true epsilon.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import log_ndtr

from fedward.common.errors import ConfigError

EXACT = "exact Gaussian differential privacy"
NUMERIC = "dp-accounting PLD, pessimistic"
# Steps of the discretised privacy loss. With the fine one epsilon is at most 0.1 % large, where the
# sample rate is at least a hundredth of the noise multiplier; below, rounding weighs more.
_FINE, _ROUGH = 5e-4, 1e-3


@dataclass(frozen=True)
class GaussianEvent:
    """The same Gaussian mechanism, ``steps`` times.

    Attributes:
        noise_multiplier: noise standard deviation per clipping norm.
        sample_rate: probability with which a record takes part in a step; 1 is the full batch.
        steps: how many times.

    Raises:
        ConfigError: a value for which there is no guarantee (no noise, NaN, a rate outside (0, 1]).
    """

    noise_multiplier: float
    sample_rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.noise_multiplier < math.inf:
            raise ConfigError(
                f"noise multiplier {self.noise_multiplier} gives no privacy guarantee; "
                "it must be a positive number"
            )
        if not 0 < self.sample_rate <= 1:
            raise ConfigError(f"sample rate {self.sample_rate} is not in (0, 1]")
        if self.steps < 0:
            raise ConfigError(f"a mechanism cannot have run {self.steps} times")


def accountant_name(events: Sequence[GaussianEvent]) -> str:
    """The name of the accountant that ``epsilon_of`` uses for these events."""
    return EXACT if _full_batch(events) else NUMERIC


def epsilon_of(events: Sequence[GaussianEvent], *, delta: float) -> float:
    """Epsilon of all events together at this delta; 0 if nothing was released.

    Raises:
        ConfigError: delta is not in (0, 1), or no finite epsilon can be claimed.
    """
    _check_delta(delta)
    events = [event for event in events if event.steps]
    if not events:
        return 0.0
    if _full_batch(events):
        epsilon = gaussian_epsilon(mu=gaussian_mu(events), delta=delta)
    else:
        epsilon = _sampled_epsilon(events, delta, _FINE)
    if not math.isfinite(epsilon):
        raise ConfigError(
            f"no finite epsilon at delta {delta} covers these steps; add noise or take fewer steps"
        )
    return epsilon


def deltas_of(events: Sequence[GaussianEvent], *, epsilons: Sequence[float]) -> list[float]:
    """Delta of all events together at each of these epsilons: all that is claimed of them.

    Raises:
        ConfigError: a negative epsilon.
    """
    if any(not epsilon >= 0 for epsilon in epsilons):
        raise ConfigError("delta is told at epsilons of zero or more")
    events = [event for event in events if event.steps]
    if not events:
        return [0.0] * len(epsilons)
    if _full_batch(events):
        mu = gaussian_mu(events)
        return [math.exp(_log_delta(epsilon, mu)) for epsilon in epsilons]
    accountant = _sampled(events, _ROUGH)
    return [float(accountant.get_delta(epsilon)) for epsilon in epsilons]


def noise_multiplier_for(*, epsilon: float, delta: float, sample_rate: float, steps: int) -> float:
    """The least noise multiplier with which ``steps`` equal steps stay within (epsilon, delta).

    Raises:
        ConfigError: the target is not positive and finite, or there are no steps.
    """
    if steps < 1:
        raise ConfigError(f"noise for {steps} steps is undefined; plan at least one")
    whole = math.sqrt(steps) / mu_for(epsilon=epsilon, delta=delta)
    if sample_rate == 1:
        return whole

    def excess(multiplier: float) -> float:
        event = GaussianEvent(multiplier, sample_rate, steps)
        return min(_sampled_epsilon([event], delta, _ROUGH), 1e6) - epsilon

    from scipy.optimize import brentq  # a third of a second, and full batches do without

    low = high = 2 * whole  # enough without sampling, and so with it
    while excess(low := low / 2) < 0:
        high = low
    multiplier = float(brentq(excess, low, high, rtol=1e-4))
    while epsilon_of([GaussianEvent(multiplier, sample_rate, steps)], delta=delta) > epsilon:
        multiplier *= 1.0002
    return multiplier


def split_budget(
    *, epsilon: float, delta: float, statistics_share: float, gradient_steps: int
) -> tuple[float, float]:
    """Noise multipliers of one statistics release and of each full-batch gradient step.

    ``statistics_share`` is the part of mu^2 that the statistics take; all together they are
    (epsilon, delta) differentially private.

    Raises:
        ConfigError: a share that leaves nothing to one of the two.
    """
    _check_share(statistics_share, gradient_steps)
    mu = mu_for(epsilon=epsilon, delta=delta)
    statistics = 1 / (mu * math.sqrt(statistics_share))
    gradient = math.sqrt(gradient_steps) / (mu * math.sqrt(1 - statistics_share))
    return statistics, gradient


def statistics_noise_beside(
    *, gradient_noise: float, statistics_share: float, gradient_steps: int
) -> float:
    """Noise multiplier of one statistics release, as ``split_budget`` has it beside full-batch
    gradient steps with the multiplier ``gradient_noise``.

    Raises:
        ConfigError: a share that leaves nothing to one of the two.
    """
    _check_share(statistics_share, gradient_steps)
    return gradient_noise * math.sqrt((1 - statistics_share) / (statistics_share * gradient_steps))


def gaussian_mu(events: Sequence[GaussianEvent]) -> float:
    """mu of full-batch events together: the one Gaussian mechanism that they amount to."""
    return math.hypot(*(math.sqrt(event.steps) / event.noise_multiplier for event in events))


def gaussian_epsilon(*, mu: float, delta: float) -> float:
    """Epsilon at which a mu-GDP mechanism is (epsilon, delta) private, rounded up."""
    if _log_delta(0.0, mu) <= math.log(delta):
        return 0.0
    high = 1.0
    while _log_delta(high, mu) > math.log(delta):
        high *= 2
        if high > 1e300:
            return math.inf
    return _root(lambda epsilon: _log_delta(epsilon, mu) - math.log(delta), 0.0, high)


def mu_for(*, epsilon: float, delta: float) -> float:
    """The largest mu for which a mu-GDP mechanism is (epsilon, delta) private, rounded down.

    Raises:
        ConfigError: epsilon is not positive and finite, or delta not in (0, 1).
    """
    _check_delta(delta)
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"epsilon must be a positive number, not {epsilon}")
    high = 1.0
    while _log_delta(epsilon, high) < math.log(delta):
        high *= 2
    return -_root(lambda minus: _log_delta(epsilon, -minus) - math.log(delta), -high, -1e-9)


def _log_delta(epsilon: float, mu: float) -> float:
    """log of delta(epsilon) of a mu-GDP mechanism (Balle & Wang 2018, theorem 8)."""
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return first + math.log1p(-math.exp(second - first)) if second < first else -math.inf


def _root(decreasing: Callable[[float], float], low: float, high: float) -> float:
    """The least float in (low, high] at which a decreasing function is not positive."""
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if decreasing(middle) > 0 else (low, middle)
    return high


def _sampled_epsilon(events: Sequence[GaussianEvent], delta: float, interval: float) -> float:
    return float(_sampled(events, interval).get_epsilon(delta))


def _sampled(events: Sequence[GaussianEvent], interval: float) -> Any:
    """dp-accounting's accountant, which has heard of these events."""
    import dp_accounting  # slow to import, and full batches do without
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=interval)
    for event in events:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        sampled = dp_accounting.PoissonSampledDpEvent(event.sample_rate, gaussian)
        accountant.compose(sampled, event.steps)
    return accountant


def _full_batch(events: Sequence[GaussianEvent]) -> bool:
    return all(event.sample_rate == 1 for event in events if event.steps)


def _check_share(statistics_share: float, gradient_steps: int) -> None:
    if not 0 < statistics_share < 1 or gradient_steps < 1:
        raise ConfigError(
            f"a statistics share of {statistics_share} with {gradient_steps} gradient steps leaves "
            "no budget to one of them; choose a share strictly between 0 and 1"
        )


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"delta must lie strictly between 0 and 1, not {delta}")
