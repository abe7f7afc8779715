"""The candidates of a search in one picture: accuracy on the validation part, best at the top.

A point is a candidate's mean with its standard deviation over seeds, the small ones beside it are
single seeds. The band reaches one standard error below the winner: a point in it is tied.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from fedward.server.drawing import BLUE, GREY, INK, PALE, SKY, canvas, finish, shorten
from fedward.sims.search_plan import in_words
from fedward.sims.search_table import CandidateRow, Search

MOST = 40  # candidates that are drawn
NAME = 60  # characters of a candidate's name


def search_figure(found: Search) -> Figure:
    """Draw the best candidates of a search, all of them unless there are many."""
    rows = found.candidates[:MOST]
    figure = canvas(9.0, 1.6 + 0.34 * len(rows))
    axes = figure.subplots()
    best = rows[0].accuracy_mean
    axes.axvspan(best - found.standard_error, best, color=PALE, linewidth=0)
    for place, row in enumerate(rows):
        _draw(axes, place, row, best - found.standard_error)
    names = [shorten(in_words(row.settings), NAME) for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    lowest, highest = axes.get_xlim()
    axes.set_xlim(max(lowest, 0.0), min(highest, 1.0))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    band = "accuracy ± standard deviation over seeds; band: one standard error of the winner"
    axes.set_xlabel(band, color=GREY)
    left_out = len(found.candidates) - len(rows)
    more = f", without the {left_out:,} worst" if left_out else ""
    return finish(figure, f"Settings of {found.recipe} on {found.split} of {found.data}{more}")


def _draw(axes: Axes, place: int, row: CandidateRow, tied_from: float) -> None:
    single = [run.accuracy for run in row.runs]
    axes.scatter(single, [place] * len(single), s=14, color=SKY, zorder=2)
    axes.errorbar(
        [row.accuracy_mean],
        [place],
        xerr=[row.accuracy_std or 0.0],
        color=INK if place == 0 else BLUE,
        marker="D" if place == 0 else "o",
        markersize=7,
        markeredgewidth=1.8,
        markerfacecolor=None if row.accuracy_mean >= tied_from else "white",
        elinewidth=1.4,
        capsize=4,
        zorder=3,
    )
