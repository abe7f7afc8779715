"""The table of accuracies: a row for every recipe, from the runs of its seeds."""

import statistics
from collections.abc import Sequence

from fedward.common.config import Frozen, ModelName, Study
from fedward.common.errors import ConfigError
from fedward.sims.accuracy_runs import Measured
from fedward.sims.over_seeds import over_seeds


class AccuracyRow(Frozen):
    """One recipe over its seeds.

    Attributes:
        setting: "pooled" (one hospital holds everything), or such as "ten hospitals".
        model: its name.
        epsilon: every hospital's, for the whole run; None without privacy.
        recipe: its name.
        accuracy_mean, macro_f1_mean: over the seeds, as fractions.
        accuracy_std: sample standard deviation over the seeds; None for one seed.
        seeds, accuracies: what was run, and what came out.
        seconds_mean: wall-clock time of a run.
    """

    setting: str
    model: ModelName
    epsilon: float | None
    recipe: str
    accuracy_mean: float
    accuracy_std: float | None
    macro_f1_mean: float
    seeds: list[int]
    accuracies: list[float]
    seconds_mean: float


class AccuracyTable(Frozen):
    """What accuracy.json holds."""

    rows: list[AccuracyRow]


def table_of(measured: Sequence[Measured]) -> AccuracyTable:
    """A row for every recipe, in the order in which they come."""
    names = dict.fromkeys(run.study.name for run in measured)
    return AccuracyTable(
        rows=[_row([run for run in measured if run.study.name == name]) for name in names]
    )


def setting_of(study: Study) -> str:
    """Where the faces are: all in one place, or at how many hospitals."""
    count = study.hospitals.count
    if count == 1:
        return "pooled"
    return "ten hospitals" if count == 10 else f"{count} hospitals"


def epsilon_of(study: Study) -> float | None:
    """The epsilon that a study is made for; None without privacy. Raises ConfigError for a study
    that names its noise instead, which must not stand in the table as one without privacy."""
    if study.privacy is not None and study.privacy.epsilon is None:
        raise ConfigError(f"{study.name} states no epsilon: give it privacy.epsilon")
    return study.privacy.epsilon if study.privacy else None


def _row(runs: Sequence[Measured]) -> AccuracyRow:
    study = runs[0].study
    scores = over_seeds([run.test for run in runs])
    return AccuracyRow(
        setting=setting_of(study),
        model=study.training.model,
        epsilon=epsilon_of(study),
        recipe=study.name,
        accuracy_mean=scores.accuracy_mean,
        accuracy_std=scores.accuracy_std,
        macro_f1_mean=scores.macro_f1_mean,
        seeds=[run.study.seed for run in runs],
        accuracies=[run.test.accuracy for run in runs],
        seconds_mean=statistics.fmean(run.seconds for run in runs),
    )
