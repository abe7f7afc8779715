"""`fedward bench accuracy`: the table of accuracies, measured anew from its recipes and seeds.

A row is a recipe; its numbers are those of `fedward simulate` with every seed, read from the run
directories OUT/<recipe>-<seed>, which stay.
"""

from collections.abc import Sequence
from pathlib import Path

from fedward.common.config import Study
from fedward.common.files import write_bytes
from fedward.common.vgg_weights import MISSING, named_file
from fedward.sims.accuracy_runs import (
    AGAIN,
    Planned,
    Tell,
    from_anywhere,
    read_measured,
    run_all,
)
from fedward.sims.accuracy_table import AccuracyTable, epsilon_of, table_of
from fedward.sims.recipes import recipe
from fedward.sims.studies import check_weights, customised

TABLE = (  # the recipes of the published table, in its order
    "fer-pooled",
    "fer-pooled-cnn-lstm",
    "fer-pooled-lstm",
    "fer-pooled-vgg16",
    "fer-pooled-8",
    "fer-pooled-3",
    "fer-pooled-1",
    "fer-pooled-lstm-8",
    "fer-compact",
    "fer-lstm",
    "fer-private-8",
    "fer-private-3",
    "fer-private-1",
)
OPTIONAL = "fer-pooled-vgg16"


def rows_here() -> tuple[tuple[str, ...], str | None]:
    """The rows of TABLE that this machine has everything for, and which one is left out, why, and
    what to do about it; None where all are there. A file of weights that is named and cannot be
    used is no reason to leave a row out: it is refused before anything runs."""
    if named_file() is not None:
        return TABLE, None
    names = tuple(name for name in TABLE if name != OPTIONAL)
    return names, f"row {OPTIONAL} is left out: {MISSING}"


def planned(names: Sequence[str], *, data: str, seeds: Sequence[int], split: str) -> list[Study]:
    """The studies of these recipes with every seed, on one data set.

    Raises:
        ConfigError: an unknown recipe, or one that does not go with the data.
    """
    return [
        customised(recipe(name), data=from_anywhere(data), seed=seed, test_split=split)
        for name in dict.fromkeys(names)
        for seed in seeds
    ]


def bench_accuracy(
    studies: Sequence[Study], out: Path, *, tell: Tell, quiet: bool = False
) -> AccuracyTable:
    """Run what is not finished yet, then write accuracy.json, accuracy.md and accuracy.png.

    Args:
        studies: what to run; those of one name are one row.
        out: a folder, for the table and for one run directory a study.
        tell: hears which study begins, its number and how many there are.
        quiet: runs show no progress of their own.

    Raises:
        ConfigError, ModelError: when a model's weights are not there. Nothing has run then.
        RunError: when a run fails, or the folder holds one of another study.
        StoppedError: when the user asked to stop. What is finished stays, in both cases.
    """
    for study in studies:  # what would spoil the table is said before hours are spent
        epsilon_of(study)
        check_weights(study)
    runs = [
        Planned(f"{study.name}, seed {study.seed}", study, out / f"{study.name}-{study.seed}")
        for study in studies
    ]
    run_all(runs, tell=tell, quiet=quiet)
    table = table_of([read_measured(run.study, run.folder) for run in runs])
    _write(table, studies, out)
    return table


def _write(table: AccuracyTable, studies: Sequence[Study], out: Path) -> None:
    from fedward.server.drawing import png  # brings matplotlib
    from fedward.sims.accuracy_plot import accuracy_figure
    from fedward.sims.accuracy_words import markdown, test_name

    contents = {
        "json": (table.model_dump_json(indent=2) + "\n").encode(),
        "md": markdown(table, studies).encode(),
        "png": png(accuracy_figure(table, test_name(studies[0]))),
    }
    for ending, content in contents.items():
        write_bytes(out / f"accuracy.{ending}", content, cure=AGAIN)
