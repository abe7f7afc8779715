"""What accuracy to expect at which epsilon: estimates from simulations that were made before.

Two sources: finished runs in a folder, and the published table (sims/accuracy.json, written by
`fedward bench accuracy`), which ships with Fedward. An estimate is over seeds of one setting; runs
that differ in anything but their seed are different rows.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from fedward.common.config import Frozen, ModelName, Study, Unit, parse_study
from fedward.common.errors import ConfigError
from fedward.common.faces import split_name
from fedward.common.result import Result, TestPart
from fedward.server.run_directory import RunDirectory
from fedward.sims.accuracy_table import AccuracyTable
from fedward.sims.over_seeds import over_seeds
from fedward.sims.recipes import recipe

PUBLISHED_DATA = "FER-2013"
PUBLISHED = "accuracy.json"


class Estimate(Frozen):
    """Accuracy of one setting in simulations.

    Attributes:
        source: "published", or the folder's own "runs".
        data: what the models were trained on, such as "FER-2013".
        split: what they were scored on.
        recipe: the setting's name.
        epsilon: every hospital's, for the whole run; None without privacy.
        unit: what epsilon is about.
        accuracy_mean, macro_f1_mean: over the seeds, as fractions.
        accuracy_std: sample standard deviation over the seeds; None for one seed.
    """

    source: Literal["published", "runs"]
    data: str
    split: str
    recipe: str
    model: ModelName
    hospitals: int
    rounds: int
    epsilon: float | None
    unit: Unit
    accuracy_mean: float
    accuracy_std: float | None
    macro_f1_mean: float
    seeds: tuple[int, ...]


def estimates_for(model: ModelName, runs: Path) -> tuple[Estimate, ...]:
    """All estimates of a model, the folder's own runs first, each by hospitals and epsilon.

    Args:
        model: its name.
        runs: a folder of run directories; it need not exist.
    """
    found = [*from_runs(finished_in(runs)), *published()]
    return tuple(row for row in sorted(found, key=_order) if row.model == model)


@cache
def published() -> tuple[Estimate, ...]:
    """The published table. Its rows are recipes, scored on PublicTest."""
    text = files("fedward.sims").joinpath(PUBLISHED).read_text(encoding="utf-8")
    rows = AccuracyTable.model_validate_json(text).rows
    return tuple(
        Estimate(
            source="published",
            data=PUBLISHED_DATA,
            split="PublicTest",
            recipe=row.recipe,
            model=row.model,
            hospitals=study.hospitals.count,
            rounds=study.rounds.count,
            epsilon=row.epsilon,
            unit=study.unit,
            accuracy_mean=row.accuracy_mean,
            accuracy_std=row.accuracy_std,
            macro_f1_mean=row.macro_f1_mean,
            seeds=tuple(row.seeds),
        )
        for row, study in ((row, recipe(row.recipe)) for row in rows)
    )


def finished_in(runs: Path) -> list[tuple[Study, Result]]:
    """The finished runs of a folder, by name; what this version cannot read is passed over."""
    found = []
    for path in sorted(runs.glob("*/result.json")):
        result = RunDirectory(path.parent).read_result()
        if result is None or result.status != "completed" or result.test is None:
            continue
        try:
            found.append((parse_study(result.recipe), result))
        except ConfigError:
            continue
    return found


def from_runs(runs: Iterable[tuple[Study, Result]]) -> list[Estimate]:
    """A row for every setting. A seed that was run twice counts once, as it was run last."""
    settings: dict[Study, dict[int, Result]] = {}
    for study, result in runs:
        settings.setdefault(_setting(study), {})[study.seed] = result
    return [_estimate(study, seeds) for study, seeds in settings.items()]


def _setting(study: Study) -> Study:
    """A study but for its seed, and for the folder in which its data lay."""
    data = study.data.model_copy(update={"source": Path(study.data.source).name})
    return study.model_copy(update={"seed": 0, "data": data})


def _estimate(study: Study, seeds: dict[int, Result]) -> Estimate:
    scores = over_seeds(tests(seeds.values()))
    return Estimate(
        source="runs",
        data=study.data.source,
        split=split_name(study.data.test_split),
        recipe=study.name,
        model=study.training.model,
        hospitals=study.hospitals.count,
        rounds=study.rounds.count,
        epsilon=_largest_epsilon(seeds.values()),
        unit=study.unit,
        accuracy_mean=scores.accuracy_mean,
        accuracy_std=scores.accuracy_std,
        macro_f1_mean=scores.macro_f1_mean,
        seeds=tuple(sorted(seeds)),
    )


def tests(results: Iterable[Result]) -> Sequence[TestPart]:
    """The scores of finished runs."""
    return [result.test for result in results if result.test is not None]


def _largest_epsilon(results: Iterable[Result]) -> float | None:
    known = [h.epsilon for result in results for h in result.hospitals if h.epsilon is not None]
    return max(known, default=None)


def _order(row: Estimate) -> tuple[bool, int, str, float]:
    """Own runs first, then by hospitals, data, and from little noise to much."""
    epsilon = float("inf") if row.epsilon is None else row.epsilon
    return row.source == "published", row.hospitals, row.data, -epsilon
