"""The scores of an audit's canaries in one picture: those that were in, and those that were not.

A panel for every study. Where the two heaps lie apart, the attacker knows who was there. Outside
the two lines a coin was guessed.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedward.server.drawing import BLUE, DASHES, GREY, PALE, VERMILION, canvas, finish
from fedward.sims.audit import Audited
from fedward.sims.audit_bound import guess

BINS = 40
COLUMNS = 2


def audit_figure(found: Sequence[Audited]) -> Figure:
    """Draw the scores of one or more audits."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure = canvas(6.4 * columns, 0.6 + 3.2 * rows)
    for place, audited in enumerate(found):
        _draw(figure.add_subplot(rows, columns, place + 1), audited)
    return finish(figure, "Who was there? Canaries by the attacker's score")


def _draw(axes: Axes, audited: Audited) -> None:
    row, scores, inside = audited.row, audited.scores, audited.inside
    edges = np.histogram_bin_edges(scores, BINS).tolist()
    axes.hist(scores[inside], edges, color=BLUE, alpha=0.55, label="in")
    axes.hist(
        scores[~inside], edges, histtype="step", color=VERMILION, linewidth=1.8, label="not in"
    )
    answers = guess(scores, row.guesses)
    for border in (scores[answers < 0].max(), scores[answers > 0].min()):
        axes.axvline(border, color=GREY, linewidth=1, linestyle=DASHES)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9.5)
    axes.set_xlabel("score: evidence for having been in", color=GREY)
    axes.set_ylabel("canaries", color=GREY)
    broken = f", broken: {row.broken}" if row.broken else ""
    least = max(row.epsilon_lower_bound, row.epsilon_lower_bound_curve)
    verdict = "stands" if row.passes else "refuted"
    axes.set_title(
        f"{row.recipe}{broken}\nclaimed epsilon {row.epsilon_claimed:.3g}, at least {least:.2f}: "
        f"{verdict}",
        fontsize=10,
        loc="left",
    )
