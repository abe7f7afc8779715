"""How much noise every hospital adds in a study, and what epsilon that comes to. Pure arithmetic.

The plan of a hospital follows from public numbers alone: the study and the hospital's public size.
The unit is one image or one patient with all images, as ``privacy.unit`` says; a size counts these
units. Neighbours differ by adding or removing one (add/remove adjacency), and every hospital
protects its own units by its own noise, whoever reads its updates. The arithmetic is the same for
both, since what one unit adds to a sum is bounded by the same clipping norm.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from fedward.common.config import PrivacyConfig, Study, TrainingConfig
from fedward.common.messages import Task
from fedward.common.models import is_linear
from fedward.common.privacy import (
    GaussianEvent,
    accountant_name,
    epsilon_of,
    noise_multiplier_for,
    split_budget,
    statistics_noise_beside,
)
from fedward.common.train import FitPlan

MOST_ROUNDS = 100_000  # that anybody plans for


@dataclass(frozen=True)
class NoisePlan:
    """What one hospital adds, round by round.

    Attributes:
        step: noise multiplier of a training step.
        statistics: noise multiplier of the statistics round (round 1), None where there is none.
        sample_rate: probability with which a step uses a unit; 1 is the full batch.
        steps_per_round: training steps in a round.
        metrics: noise multiplier of the counts of right answers after the last round, None where
            the study does not ask for them. They are charged beside the study's target.
    """

    step: float
    statistics: float | None
    sample_rate: float
    steps_per_round: int
    metrics: float | None = None

    def noise_multiplier(self, round_number: int) -> float:
        """Of one round."""
        if round_number == 1 and self.statistics is not None:
            return self.statistics
        return self.step

    def events(self, rounds: list[int], *, measured: bool = False) -> list[GaussianEvent]:
        """What taking part in these rounds amounts to, and in the counting after the last one."""
        events = []
        if measured and self.metrics is not None:
            events.append(GaussianEvent(self.metrics))
        training = [r for r in rounds if not (r == 1 and self.statistics is not None)]
        if self.statistics is not None and len(training) < len(rounds):
            events.append(GaussianEvent(noise_multiplier=self.statistics, sample_rate=1.0, steps=1))
        if training:
            steps = len(training) * self.steps_per_round
            events.append(
                GaussianEvent(noise_multiplier=self.step, sample_rate=self.sample_rate, steps=steps)
            )
        return events

    def epsilon(self, rounds: list[int], *, delta: float, measured: bool = False) -> float:
        """Of taking part in these rounds, and in the counting after the last; 0 for none."""
        return _epsilon(tuple(self.events(rounds, measured=measured)), delta)

    def accountant(self) -> str:
        """The accountant that ``epsilon`` uses, in words."""
        return accountant_name(self.events([1, 2]))


@lru_cache(maxsize=4096)
def _epsilon(events: tuple[GaussianEvent, ...], delta: float) -> float:
    """Accountants take up to a second; hospitals and rounds ask again for the same events."""
    return epsilon_of(events, delta=delta)


def plan_noise(study: Study, size: int) -> NoisePlan | None:
    """The plan of a hospital of this public size, for taking part in every round; None: no privacy.

    Args:
        study: what is trained, and how.
        size: the hospital's public number of units (``study.unit``).

    Raises:
        ConfigError: when the target cannot be met, or delta is too large for so many patients.
    """
    if study.privacy is None:
        return None
    study.privacy.check_size(size)
    statistics = is_linear(study.training.model)
    rate, per_round = _steps_of_a_round(study.training, size)
    rounds = max(1, study.rounds.count - (1 if statistics else 0))
    plan = _calibrate(
        study.privacy, study.privacy.delta_at(size), rate, per_round, rounds, statistics
    )
    return replace(plan, metrics=study.privacy.metrics_noise_multiplier)


def round_event(
    training: TrainingConfig, *, task: Task, size: int, noise_multiplier: float
) -> GaussianEvent:
    """What one round amounts to at a hospital of this public size, whoever ordered it.

    Raises:
        ConfigError: there is no guarantee with this noise.
    """
    if task != "train":
        return GaussianEvent(noise_multiplier)
    return GaussianEvent(noise_multiplier, *_steps_of_a_round(training, size))


def _steps_of_a_round(training: TrainingConfig, size: int) -> tuple[float, int]:
    """Sampling rate and number of the private steps of a training round; a linear head takes full
    batches whatever the batch size."""
    plan = FitPlan(
        epochs=training.epochs,
        batch_size=0 if is_linear(training.model) else training.batch_size,
        optimizer=training.optimizer,
        learning_rate=training.learning_rate,
        expected_examples=size,
    )
    return plan.sample_rate, plan.private_steps


def most_rounds(within: Callable[[int], bool]) -> int:
    """The largest number of rounds, up to MOST_ROUNDS, for which a condition holds; 0 for none.

    Few rounds are asked about first: accounting for far too many takes time and memory.

    Args:
        within: whether so many rounds fit; where they do, fewer do too.
    """
    low, high = 0, 1
    while high <= MOST_ROUNDS and within(high):
        low, high = high, 2 * high
    high = min(high, MOST_ROUNDS + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def _calibrate(
    privacy: PrivacyConfig,
    delta: float,
    rate: float,
    per_round: int,
    rounds: int,
    statistics: bool,
) -> NoisePlan:
    steps = rounds * per_round
    share = privacy.statistics_share
    first: float | None = None
    if privacy.noise_multiplier is not None:
        step = privacy.noise_multiplier
        if statistics:
            first = statistics_noise_beside(
                gradient_noise=step, statistics_share=share, gradient_steps=steps
            )
        return NoisePlan(step, first, rate, per_round)
    assert privacy.epsilon is not None  # the other half of PrivacyConfig's rule
    target = {"epsilon": privacy.epsilon, "delta": delta}
    if statistics:
        first, step = split_budget(**target, statistics_share=share, gradient_steps=steps)
    else:
        step = noise_multiplier_for(**target, sample_rate=rate, steps=steps)
    return NoisePlan(step, first, rate, per_round)
