"""What search.json holds, and the ranking in it: arithmetic on finished runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedward.common.config import Frozen, Study
from fedward.common.errors import RunError
from fedward.common.result import Result, TestPart
from fedward.sims.accuracy_runs import read_scored
from fedward.sims.over_seeds import over_seeds
from fedward.sims.search_plan import Candidate, Scalar


class SearchRun(Frozen):
    """One run of a candidate; ``folder`` is its run directory, beside search.json."""

    seed: int
    accuracy: float
    macro_f1: float
    folder: str


class CandidateRow(Frozen):
    """One candidate over its seeds.

    Attributes:
        settings: by dotted keys of the study.
        accuracy_mean, macro_f1_mean: on the validation part, over the seeds, as fractions.
        accuracy_std: sample standard deviation over the seeds; None for one seed.
        epsilon: the largest of any hospital in any of its runs, each run for itself; None without
            privacy.
        runs: one for every seed.
    """

    settings: dict[str, Scalar]
    accuracy_mean: float
    accuracy_std: float | None
    macro_f1_mean: float
    epsilon: float | None
    runs: list[SearchRun]


class SearchPrivacy(Frozen):
    """What all runs of the search reveal together about one Training record.

    Attributes:
        unit: what one record is.
        delta: of every epsilon here; the smallest of the candidates'.
        epsilon_one_run: the largest of any run for itself.
        epsilon_all_runs: of all runs together; None where no finite one can be claimed.
        accountant: how they were added up.
    """

    unit: str
    delta: float
    epsilon_one_run: float
    epsilon_all_runs: float | None
    accountant: str


class Search(Frozen):
    """All of search.json.

    Attributes:
        fedward_version: that made it.
        command: the command line that repeats the choice.
        recipe: the study's name.
        study: what the candidates vary.
        data: what a person would call the source.
        data_sha256: of the source; faces that are drawn have one for every seed.
        split: what judged the candidates, in results ("Validation").
        validation_images: how many faces that is.
        seeds: that every candidate was run with.
        varied: what was tried, by dotted keys.
        candidates: from the best mean accuracy to the worst; equals in the order they were tried.
        winner: the settings of the first.
        standard_error: of the winner's mean accuracy, see ``standard_error``.
        tied: settings of the others whose mean is within one standard error of the winner's.
        privacy: None where some run was made without privacy.
        privacy_statement: what the choice costs in privacy, in sentences.
    """

    fedward_version: str
    command: str
    recipe: str
    study: Study
    data: str
    data_sha256: list[str]
    split: str
    validation_images: int
    seeds: list[int]
    varied: dict[str, list[Scalar]]
    candidates: list[CandidateRow]
    winner: dict[str, Scalar]
    standard_error: float
    tied: list[dict[str, Scalar]]
    privacy: SearchPrivacy | None
    privacy_statement: list[str]


@dataclass(frozen=True)
class Finished:
    """A finished run of a search.

    Attributes:
        study: what was run.
        folder: its run directory.
        result: what it left.
        test: its scores on the validation part.
    """

    study: Study
    folder: Path
    result: Result
    test: TestPart


def read_finished(study: Study, folder: Path) -> Finished:
    """A run from its directory. Raises RunError when its scores cannot be read."""
    return Finished(study, folder, *read_scored(folder))


def row_of(candidate: Candidate, runs: Sequence[Finished]) -> CandidateRow:
    """A candidate with what its runs, one or more, came to."""
    scores = over_seeds([run.test for run in runs])
    epsilons = [h.epsilon for run in runs for h in run.result.hospitals if h.epsilon is not None]
    return CandidateRow(
        settings=dict(candidate.settings),
        accuracy_mean=scores.accuracy_mean,
        accuracy_std=scores.accuracy_std,
        macro_f1_mean=scores.macro_f1_mean,
        epsilon=max(epsilons, default=None),
        runs=[
            SearchRun(
                seed=run.study.seed,
                accuracy=run.test.accuracy,
                macro_f1=run.test.macro_f1,
                folder=run.folder.name,
            )
            for run in runs
        ],
    )


def ranked(rows: Sequence[CandidateRow]) -> list[CandidateRow]:
    """From the best mean accuracy to the worst; equals stay in their order."""
    return sorted(rows, key=lambda row: -row.accuracy_mean)


def standard_error(row: CandidateRow, images: int) -> float:
    """Of a mean accuracy, a fraction: the larger of what another draw of seeds and what another
    draw of this many images would change. Few seeds agree by chance, and all of them are judged by
    the same images, so neither is enough alone.
    """
    mean = row.accuracy_mean
    of_images = math.sqrt(mean * (1 - mean) / images)
    of_seeds = (row.accuracy_std or 0.0) / math.sqrt(len(row.runs))
    return max(of_images, of_seeds)


def tied_with_first(rows: Sequence[CandidateRow], error: float) -> list[CandidateRow]:
    """Of ranked rows, those after the first whose mean is within ``error`` of the first's."""
    return [row for row in rows[1:] if row.accuracy_mean >= rows[0].accuracy_mean - error]


def data_hashes(runs: Sequence[Finished], *, drawn: bool) -> list[str]:
    """The different sha256 of what the runs were made on; drawn faces have one for every seed.

    Raises:
        RunError: when runs that must have read the same data did not.
    """
    first: dict[int, Finished] = {}
    for run in runs:
        other = first.setdefault(run.study.seed if drawn else 0, run)
        if other.result.data.sha256 != run.result.data.sha256:
            raise RunError(
                f"{run.folder} was run on other data than {other.folder} (sha256 "
                f"{run.result.data.sha256[:12]}, not {other.result.data.sha256[:12]}): remove the "
                "one that is out of date and give the same command again"
            )
    return list(dict.fromkeys(run.result.data.sha256 for run in first.values()))
