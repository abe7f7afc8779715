"""The table of accuracies as Markdown."""

from collections.abc import Sequence
from pathlib import Path

from fedward.common.config import Study
from fedward.common.faces import split_name
from fedward.sims.accuracy_table import AccuracyRow, AccuracyTable
from fedward.sims.over_seeds import accuracy_in_words

HEADS = ("Setting", "Model", "Epsilon", "Accuracy", "Macro-F1", "Seeds", "Recipe")
NOTE = """\
Accuracy is the mean over seeds ± the sample standard deviation over seeds (none for one seed),
macro-F1 the mean. Epsilon is every hospital's for the whole run, with its delta and its unit: what
adding or removing one of them can change. The noise of a simulation is repeatable: it measures what
privacy costs and protects nobody. Runs: one folder for each recipe and seed, beside this file.
"""


def test_name(study: Study) -> str:
    """What a study is scored on, such as "PublicTest of fer2013.csv"."""
    return f"{split_name(study.data.test_split)} of {Path(study.data.source).name}"


def markdown(table: AccuracyTable, studies: Sequence[Study]) -> str:
    """The table with its title and what its columns mean.

    Args:
        table: the numbers.
        studies: what was run; every recipe of the table is the name of one.
    """
    by_name = {study.name: study for study in studies}
    lines = [HEADS, ("---",) * len(HEADS)]
    lines += [_cells(row, by_name[row.recipe]) for row in table.rows]
    drawn = "\n".join(f"| {' | '.join(cells)} |".replace(" --- ", "---") for cells in lines)
    return f"# Accuracy on {test_name(studies[0])}\n\n{drawn}\n\n{NOTE}"


def _cells(row: AccuracyRow, study: Study) -> tuple[str, ...]:
    return (
        row.setting,
        f"`{row.model}`",
        _epsilon(study),
        accuracy_in_words(row.accuracy_mean, row.accuracy_std),
        f"{100 * row.macro_f1_mean:.1f} %",
        ", ".join(map(str, row.seeds)),
        f"`{row.recipe}`",
    )


def _epsilon(study: Study) -> str:
    if study.privacy is None:
        return "none"
    privacy = study.privacy
    stated = None if privacy.delta is None else f"{privacy.delta:g}".replace("e-0", "e-")
    delta = stated or f"a tenth of one in a hospital's {privacy.unit}s, at most 1e-5"
    return f"{privacy.epsilon:g} (delta {delta}, one {privacy.unit})"
