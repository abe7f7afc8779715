"""Accuracy against epsilon: what privacy costs, in one picture.

A colour and a shape of points for every model, a full line with filled points where all faces are
pooled, a dashed one with open points where they are spread over hospitals. What was trained without
privacy stands in a panel of its own, since no point of the axis of epsilon is its place.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from fedward.common.config import ModelName
from fedward.server.drawing import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    canvas,
    finish,
    spread,
)
from fedward.sims.accuracy_table import AccuracyRow, AccuracyTable

LOOKS: dict[ModelName, tuple[str, str]] = {
    "pretrained": (BLUE, "o"),
    "scatter": (SKY, "X"),
    "scatter-cnn": (SKY, "d"),
    "lstm": (VERMILION, "s"),
    "compact-cnn": (GREEN, "D"),
    "cnn-lstm": (PURPLE, "^"),
    "vgg16": (ORANGE, "p"),
    "thesis-cnn": (INK, "v"),
    "thesis-lstm": (GREY, "P"),
}
MARGIN = 0.025  # of accuracy, above and below everything that is drawn
Series = Sequence[AccuracyRow]


def accuracy_figure(table: AccuracyTable, test: str) -> Figure:
    """Draw a table that has rows; ``test`` says what the models are scored on."""
    private = _series([row for row in table.rows if row.epsilon is not None])
    public = _series([row for row in table.rows if row.epsilon is None])
    shares = [share for part, share in ((private, 2.0), (public, 1.0)) if part]
    figure = canvas(9.0, 5.2)
    panels = figure.subplots(
        1, len(shares), sharey=True, width_ratios=shares, squeeze=False, gridspec_kw={"wspace": 0}
    )[0].tolist()
    if private:
        _draw_private(panels[0], private)
    if public:
        _draw_public(panels[-1], public)
    lowest, highest = _limits(table)
    for panel in panels:
        panel.set_ylim(lowest, highest)
        panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        panel.grid(axis="y", color=PALE, linewidth=0.8)
    panels[0].set_ylabel("accuracy ± standard deviation over seeds", color=GREY)
    if private:
        _label_ends(panels[0], [rows[-1] for rows in private])
    if public:
        _label_points(panels[-1], public)
    _legend(figure, panels)
    return finish(figure, f"Accuracy against epsilon, on {test}")


def _series(rows: Series) -> list[Series]:
    """Rows of one setting and model, by rising epsilon."""
    names = dict.fromkeys((row.setting, row.model) for row in rows)
    return [
        sorted(
            (row for row in rows if (row.setting, row.model) == name),
            key=lambda row: row.epsilon or 0.0,
        )
        for name in names
    ]


def _draw_private(axes: Axes, series: Sequence[Series]) -> None:
    for rows in series:
        _line(axes, [row.epsilon or 0.0 for row in rows], rows)
    epsilons = sorted({row.epsilon or 0.0 for rows in series for row in rows})
    axes.set_xscale("log")
    axes.set_xlim(epsilons[0] / 1.25, epsilons[-1] * 1.35)
    axes.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epsilon of every hospital (smaller is more private)", color=GREY)


def _draw_public(axes: Axes, series: Sequence[Series]) -> None:
    for place, rows in enumerate(series):
        _line(axes, [float(place)] * len(rows), rows)
    axes.set_xlim(-0.7, len(series) - 0.3)
    axes.set_xticks([])
    axes.set_facecolor("#f7f8f9")
    axes.set_xlabel("no privacy", color=GREY)


def _line(axes: Axes, places: Sequence[float], rows: Series) -> None:
    first = rows[0]
    colour, shape = LOOKS[first.model]
    pooled = first.setting == "pooled"
    drawn = axes.errorbar(
        places,
        [row.accuracy_mean for row in rows],
        yerr=[row.accuracy_std or 0.0 for row in rows],
        color=colour,
        linewidth=2.2,
        elinewidth=1.4,
        capsize=5,
        linestyle="-" if pooled else DASHES,
        marker=shape,
        markersize=7,
        markeredgewidth=1.8,
        markerfacecolor=colour if pooled else "white",
    )
    drawn.lines[0].set_label(f"{first.model}, {first.setting}")  # a key without its error bars


def _limits(table: AccuracyTable) -> tuple[float, float]:
    """From below the lowest bar to above the highest, on whole steps of 5 %."""
    spreads = np.array([row.accuracy_std or 0.0 for row in table.rows])
    means = np.array([row.accuracy_mean for row in table.rows])
    lowest = np.floor(20 * float((means - spreads).min() - MARGIN)) / 20
    highest = np.ceil(20 * float((means + spreads).max() + MARGIN)) / 20
    return max(0.0, float(lowest)), min(1.0, float(highest))


def _label_ends(axes: Axes, rows: Series) -> None:
    """The last value of every line, right of it and clear of the others."""
    bottom, top = axes.get_ylim()
    places = spread([row.accuracy_mean for row in rows], gap=0.045 * (top - bottom))
    for row, place in zip(rows, places, strict=True):
        _value(axes, row, (row.epsilon or 0.0, place), (11, -3.5), "left")


def _label_points(axes: Axes, series: Sequence[Series]) -> None:
    for place, rows in enumerate(series):
        for row in rows:
            above = row.accuracy_mean + (row.accuracy_std or 0.0)
            _value(axes, row, (place, above), (0, 8), "center")


def _value(
    axes: Axes,
    row: AccuracyRow,
    at: tuple[float, float],
    points_away: tuple[float, float],
    alignment: Literal["left", "center"],
) -> None:
    axes.annotate(
        f"{row.accuracy_mean:.1%}",
        at,
        points_away,
        textcoords="offset points",
        ha=alignment,
        fontsize=9.5,
        color=LOOKS[row.model][0],
    )


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Each setting and model once, though it may be in both panels."""
    keys = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(keys.values()),
        list(keys),
        loc="outside lower left",
        ncols=3,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
        handlelength=3.2,
    )
