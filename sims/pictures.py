"""The figures and the report of a simulated run, with test faces that the model got right or wrong.

Apart from sims/chronicle.py because it brings matplotlib, which only the end of a run needs.
"""

import numpy as np

from fedward.common.result import Result
from fedward.server.evaluate import Evaluation
from fedward.server.figures import Samples, write_figures
from fedward.server.report import write_report
from fedward.server.run_directory import RunDirectory
from fedward.sims.sites import Consortium

SHOWN = 12  # sample predictions, half of them right


def draw(
    result: Result, dealt: Consortium, evaluation: Evaluation, directory: RunDirectory
) -> None:
    """Draw a finished run.

    Raises:
        RunError: a file cannot be written.
    """
    write_figures(result, samples(dealt, evaluation), directory.figures)
    write_report(result, directory.figures, directory.report)


def samples(dealt: Consortium, evaluation: Evaluation) -> Samples:
    """Test faces drawn by the study's seed, half of them named right where there are as many."""
    faces = dealt.examined
    predicted = evaluation.probabilities.argmax(axis=1)
    order = np.random.default_rng(dealt.study.seed).permutation(len(faces))
    hit = predicted[order] == faces.labels[order]
    rows = np.concatenate([order[hit][: SHOWN // 2], order[~hit][: SHOWN // 2]])
    return Samples(
        faces.images[rows],
        faces.labels[rows],
        predicted[rows],
        evaluation.probabilities[rows].max(axis=1),
    )
