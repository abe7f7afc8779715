"""What a study would cost one hospital in privacy, before any data are touched. Pure arithmetic.

A plan follows from public numbers alone: the study, and how many units of privacy the hospital
states. Noise and epsilon are those of common/noise.py, which `fedward simulate` trains with; a run
of the same study at a hospital of the same size has the same numbers.
"""

import math
from collections.abc import Sequence

from fedward.common.config import Frozen, ModelName, Study, Unit
from fedward.common.errors import ConfigError
from fedward.common.models import is_linear
from fedward.common.noise import MOST_ROUNDS, NoisePlan
from fedward.common.privacy import EXACT
from fedward.sims.mechanism import mechanism_in_words
from fedward.sims.plan_study import MOST_EPSILON, noise_of

ROWS = 12  # of a table of rounds; for sampled batches a row takes a seventh of a second
CHEAP = 1000  # rounds of full batches that are all accounted for at once


class RoundCost(Frozen):
    """What is spent after a round.

    Attributes:
        round: its number, from 1.
        epsilon: of all rounds up to this one.
        adds: epsilon that it adds; where rounds before it are left out, the mean over those and it.
    """

    round: int
    epsilon: float
    adds: float


class Plan(Frozen):
    """A study at one hospital, in numbers.

    Attributes:
        recipe: the study's name.
        unit: what ``size`` counts and epsilon is about.
        size: the hospital's public number of units.
        epsilon, delta: of taking part in all rounds.
        delta_advisable: a tenth of one in ``size``.
        noise_multiplier: of a training step, in clipping norms.
        statistics_noise_multiplier: of round 1, None where that is a training round.
        sample_rate: probability with which a step takes a unit; 1 is the full batch.
        steps: of all training rounds together.
        costs: of every round, or of some.
        warnings: sentences for people.
    """

    recipe: str
    model: ModelName
    unit: Unit
    size: int
    epsilon: float
    delta: float
    delta_advisable: float
    noise_multiplier: float
    statistics_noise_multiplier: float | None
    clipping_norm: float
    sample_rate: float
    steps_per_round: int
    rounds: int
    steps: int
    mechanism: str
    accountant: str
    costs: tuple[RoundCost, ...]
    warnings: tuple[str, ...]


def make_plan(study: Study, size: int, *, every: bool = False) -> Plan:
    """A private study at a hospital of this public size.

    Args:
        study: what would be trained; from ``planned_study``.
        size: public number of units of privacy.
        every: account for every round, where some would do.

    Raises:
        ConfigError: the target cannot be met, or delta is too large for so many patients.
    """
    privacy = study.privacy
    assert privacy is not None
    noise, count = noise_of(study, size), study.rounds.count
    delta = privacy.delta_at(size)
    every = every or (noise.accountant() == EXACT and count <= CHEAP)
    spent = _spent(noise, _first(count) if every else shown(count), delta=delta)
    training = count - (noise.statistics is not None)
    return Plan(
        recipe=study.name,
        model=study.training.model,
        unit=study.unit,
        size=size,
        epsilon=spent[-1][1],
        delta=delta,
        delta_advisable=0.1 / size,
        noise_multiplier=noise.step,
        statistics_noise_multiplier=noise.statistics,
        clipping_norm=privacy.clipping_norm,
        sample_rate=noise.sample_rate,
        steps_per_round=noise.steps_per_round,
        rounds=count,
        steps=training * noise.steps_per_round,
        mechanism=mechanism_in_words(study),
        accountant=noise.accountant(),
        costs=costs_of(spent),
        warnings=tuple(_warnings(study, size)),
    )


def shown(count: int) -> list[int]:
    """At most ROWS rounds out of so many: the first, multiples of a number, and the last."""
    step = math.ceil(count / (ROWS - 2)) if count > ROWS else 1
    return sorted({1, *range(step, count + 1, step), count})


def costs_of(spent: Sequence[tuple[int, float]]) -> tuple[RoundCost, ...]:
    """Costs from what is spent after some rounds: their numbers, rising, with epsilons."""
    before = [(0, 0.0), *spent]
    return tuple(
        RoundCost(round=number, epsilon=epsilon, adds=(epsilon - less) / (number - last))
        for (last, less), (number, epsilon) in zip(before, spent, strict=False)
    )


def thinned(costs: Sequence[RoundCost]) -> tuple[RoundCost, ...]:
    """At most ROWS of these costs, the first and the last among them."""
    wanted = set(shown(costs[-1].round))
    kept = [(cost.round, cost.epsilon) for cost in costs if cost.round in wanted]
    return costs_of(kept) if len(costs) > ROWS else tuple(costs)


def _spent(noise: NoisePlan, rounds: Sequence[int], *, delta: float) -> list[tuple[int, float]]:
    spent = []
    for number in rounds:
        epsilon = noise.epsilon(_first(number), delta=delta)
        if epsilon > MOST_EPSILON:
            raise ConfigError(
                f"epsilon passes {MOST_EPSILON:g} by round {number}, which protects nobody: give "
                "more noise or fewer rounds"
            )
        spent.append((number, epsilon))
    return spent


def _warnings(study: Study, size: int) -> list[str]:
    privacy = study.privacy
    assert privacy is not None
    said = []
    better = f"set it to {_two_digits(0.1 / size)} or less with --delta"
    delta = privacy.delta_at(size)
    if delta > 0.1 / size * (1 + 1e-12):
        said.append(f"delta {delta:g} is above a tenth of one in {size:,} {study.unit}s; {better}")
    if study.rounds.count == 1 and is_linear(study.training.model):
        said.append("one round is for statistics alone and trains nothing: plan two or more")
    if study.rounds.participation < 1:
        said.append(
            f"only {study.rounds.participation:.0%} of the hospitals are asked in a round; this is "
            "the worst case, a hospital that is asked in every one"
        )
    if privacy.metrics_noise_multiplier is not None:
        rounds = _first(study.rounds.count)
        epsilon = noise_of(study, size).epsilon(rounds, delta=delta, measured=True)
        said.append(f"with the counts of right answers at the end epsilon is {epsilon:.4g}")
    if study.rounds.count == MOST_ROUNDS:
        said.append(f"more than {MOST_ROUNDS:,} rounds are not counted")
    return said


def _two_digits(value: float) -> str:
    """A small number with two digits, rounded down."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / unit * (1 + 1e-12)) * unit:.1e}"


def _first(count: int) -> list[int]:
    return list(range(1, count + 1))
