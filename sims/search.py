"""`fedward search`: settings chosen on a validation part of Training, and written down.

Every candidate is run with every seed by `fedward simulate`, in run directories below OUT that
stay; what is finished is not run again. The same command line repeats the choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedward import __version__
from fedward.common.config import DataConfig, Study
from fedward.common.files import write_bytes
from fedward.sims.accuracy_runs import AGAIN, Planned, Tell, from_anywhere, run_all
from fedward.sims.search_plan import Candidate, Scalar, candidates
from fedward.sims.search_table import (
    Finished,
    Search,
    data_hashes,
    ranked,
    read_finished,
    row_of,
    standard_error,
    tied_with_first,
)
from fedward.sims.studies import customised

NAMES = ("search.json", "search.md", "search.png", "winner.json")


@dataclass(frozen=True)
class SearchPlan:
    """What to choose between.

    Attributes:
        base: the study that the candidates vary.
        seeds: that every candidate is run with.
        candidates: every combination of the values.
        command: the command line that repeats the choice.
    """

    base: Study
    seeds: Sequence[int]
    candidates: Sequence[Candidate]
    command: str


def plan_search(
    study: Study,
    *,
    data: str | None,
    varied: Mapping[str, Sequence[Scalar]],
    seeds: Sequence[int],
    command: str,
) -> SearchPlan:
    """All candidates, checked before the first one runs.

    Raises:
        ConfigError: when the study, the data and the values do not go together.
    """
    base = customised(study, data=from_anywhere(data or study.data.source))
    return SearchPlan(base, seeds, candidates(base, varied), command)


def search(plan: SearchPlan, out: Path, *, tell: Tell, quiet: bool = False) -> Search:
    """Run what is not finished yet, then write search.json, .md, .png and winner.json.

    Args:
        plan: what to choose between.
        out: a folder, for these files and one run directory for each candidate and seed.
        tell: hears which run begins, its number and how many there are.
        quiet: runs show no progress of their own.

    Raises:
        RunError: when a run fails, or the folder holds one of another study.
        StoppedError: when the user asked to stop. What is finished stays, in both cases.
    """
    runs = [[tried.run(seed, out) for seed in plan.seeds] for tried in plan.candidates]
    run_all([run for some in runs for run in some], tell=tell, quiet=quiet)
    found = _found(plan, runs)
    _write(found, plan, out)
    return found


def _found(plan: SearchPlan, runs: Sequence[Sequence[Planned]]) -> Search:
    from fedward.sims.search_privacy import privacy_of  # brings torch: not before runs have begun
    from fedward.sims.search_words import privacy_statement

    read = [[read_finished(run.study, run.folder) for run in some] for some in runs]
    everything: list[Finished] = [run for some in read for run in some]
    hashes = data_hashes(everything, drawn=plan.base.data.source == DataConfig().source)
    rows = ranked([row_of(tried, some) for tried, some in zip(plan.candidates, read, strict=True)])
    first = everything[0]
    error = standard_error(rows[0], first.result.data.test)
    privacy = privacy_of(everything)
    return Search(
        fedward_version=__version__,
        command=plan.command,
        recipe=plan.base.name,
        study=plan.base,
        data=first.result.data.source,
        data_sha256=hashes,
        split=first.test.split,
        validation_images=first.result.data.test,
        seeds=list(plan.seeds),
        varied={
            key: list(dict.fromkeys(tried.settings[key] for tried in plan.candidates))
            for key in plan.candidates[0].settings
        },
        candidates=rows,
        winner=rows[0].settings,
        standard_error=error,
        tied=[row.settings for row in tied_with_first(rows, error)],
        privacy=privacy,
        privacy_statement=privacy_statement(privacy, runs=len(everything)),
    )


def _write(found: Search, plan: SearchPlan, out: Path) -> None:
    from fedward.server.drawing import png  # brings matplotlib
    from fedward.sims.search_plot import search_figure
    from fedward.sims.search_words import markdown

    winner = next(tried for tried in plan.candidates if tried.settings == found.winner)
    contents = (
        (found.model_dump_json(indent=2) + "\n").encode(),
        markdown(found).encode(),
        png(search_figure(found)),
        (winner.study.model_dump_json(indent=2) + "\n").encode(),
    )
    for name, content in zip(NAMES, contents, strict=True):
        write_bytes(out / name, content, cure=AGAIN)
