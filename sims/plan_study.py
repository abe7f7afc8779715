"""What to plan: a study with the target that options ask for, and the longest one that fits."""

from fedward.client.policy import LEAST_NOISE
from fedward.common.config import PrivacyConfig, Study, Unit
from fedward.common.errors import ConfigError
from fedward.common.models import is_linear
from fedward.common.noise import NoisePlan, most_rounds, plan_noise
from fedward.sims.partition import declared_size
from fedward.sims.studies import aimed

MOST_EPSILON = 100.0  # more protects nobody, and takes gigabytes to account for
PRIVATE = "take a private recipe such as fer-private-8, or `fedward plan` it with an --epsilon"


def public_size(patients: int, unit: Unit) -> int:
    """The size that a hospital of so many units states, and that noise is planned with.

    Raises:
        ConfigError: there is nobody.
    """
    if patients < 1:
        raise ConfigError(
            f"a hospital with {patients} {unit}s has nothing to protect: give its public size, 1 "
            "or more, with --patients"
        )
    return declared_size(patients)


def planned_study(
    study: Study,
    size: int,
    *,
    rounds: int | None = None,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    delta: float | None = None,
) -> Study:
    """The study that options ask for; None keeps what it says.

    An epsilon alone sets the noise, a noise multiplier alone leaves epsilon open, and both together
    set the number of rounds: the largest that fits.

    Raises:
        ConfigError: a value that is not allowed, no privacy, or all three at once.
    """
    if None not in (rounds, epsilon, noise_multiplier):
        raise ConfigError(
            "epsilon, noise multiplier and rounds: any two of them give the third, so leave one out"
        )
    target = None if noise_multiplier is not None else epsilon
    made = aimed(
        study, rounds=rounds, epsilon=target, noise_multiplier=noise_multiplier, delta=delta
    )
    if made.privacy is None:
        raise ConfigError(
            f"{study.name} trains without privacy, so there is no noise to plan: {PRIVATE}"
        )
    _check_sense(made.privacy, epsilon)
    if noise_multiplier is not None and epsilon is not None:
        return longest(made, size, epsilon=epsilon)
    return made


def longest(study: Study, size: int, *, epsilon: float) -> Study:
    """A study of a given noise multiplier with the most rounds that stay within an epsilon.

    Raises:
        ConfigError: not one round of training fits.
    """
    least = 2 if is_linear(study.training.model) else 1  # the first is for statistics

    def within(count: int) -> bool:
        return epsilon_of(_with_rounds(study, count), size) <= epsilon

    count = most_rounds(within)
    if count < least:
        needed = epsilon_of(_with_rounds(study, least), size)
        raise ConfigError(
            f"not one round of training fits in epsilon {epsilon:g}, it takes {needed:.4g}: give "
            "more epsilon or a larger noise multiplier"
        )
    return _with_rounds(study, count)


def epsilon_of(study: Study, size: int) -> float:
    """Epsilon of taking part in all rounds of a private study."""
    assert study.privacy is not None
    rounds = list(range(1, study.rounds.count + 1))
    return noise_of(study, size).epsilon(rounds, delta=study.privacy.delta_at(size))


def noise_of(study: Study, size: int) -> NoisePlan:
    """What a hospital adds in a study, as ``plan_noise`` has it.

    Raises:
        ConfigError: the study trains without privacy, or its target cannot be met.
    """
    noise = plan_noise(study, size)
    if noise is None:
        raise ConfigError(
            f"{study.name} trains without privacy, so there is no noise to plan: {PRIVATE}"
        )
    return noise


def _check_sense(privacy: PrivacyConfig, epsilon: float | None) -> None:
    """Refuse what no accountant finishes soon, and nobody would train with."""
    noise = privacy.noise_multiplier
    target = privacy.epsilon if epsilon is None else epsilon
    if noise is not None and noise < LEAST_NOISE:
        raise ConfigError(
            f"noise multiplier {noise:g} protects nobody: give {LEAST_NOISE:g} or more"
        )
    if target is not None and not 0 < target <= MOST_EPSILON:
        raise ConfigError(
            f"epsilon {target:g} is no target: give one above 0, and at most {MOST_EPSILON:g}"
        )


def _with_rounds(study: Study, count: int) -> Study:
    rounds = study.rounds.model_copy(update={"count": count})
    return study.model_copy(update={"rounds": rounds})
