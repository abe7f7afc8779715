"""How the figures of a run look: colours, canvas, labels, and form as PNG. Not what they show.

The colours are those of Okabe and Ito (2008, "Color Universal Design"), green, purple and orange
darkened to be legible as text; amounts are shades of the blue, from light to dark. Colour-blind
readers tell them apart, and so does a grey print.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#007A5A", "#A6568B"
ORANGE = "#9C6B00"
INK, GREY, PALE, SKY = "#22282d", "#5c6670", "#e3e6e8", "#8fc3e0"
SHADES = LinearSegmentedColormap.from_list("shades", ["#f7fafc", "#a9cfe6", BLUE, "#06324f"])
DASHES = (0, (4, 3))


@dataclass(frozen=True)
class Mark:
    """A value on the vertical axis with the name that stands beside it."""

    at: float
    name: str
    colour: str


def canvas(width: float, height: float) -> Figure:
    """An empty white figure of this size in inches, drawn by Agg, laid out without overlaps."""
    figure = Figure(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        # A hospital's name may be in a script that the font lacks: boxes, but no failed run.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def finish(figure: Figure, title: str) -> Figure:
    """Set the title and take away what carries no information."""
    for axes in figure.axes:
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(which="both", length=0, labelsize=9.5, labelcolor=INK)
        for text in [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts]:
            text.set_parse_math(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def cell(axes: Axes, row: int, column: int, text: str, shade: float) -> None:
    """Text in a heat map's cell, legible on its shade (0 light, 1 dark)."""
    colour = "white" if shade > 0.5 else INK
    axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)


def part_cells(axes: Axes) -> None:
    """White lines between the cells of a heat map."""
    rows, columns = axes.images[0].get_size()
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)


def shorten(name: str, most: int = 24) -> str:
    """A name that fits beside a figure."""
    return name if len(name) <= most else name[: most - 1] + "…"


def label_ends(axes: Axes, marks: Sequence[Mark]) -> None:
    """Name each mark, with its value in per cent, right of the axes and clear of the others."""
    places = spread([mark.at for mark in marks], gap=0.062 * axes.get_ylim()[1])
    for mark, place in zip(marks, places, strict=True):
        axes.text(
            1.015,
            place,
            f"{mark.name} {mark.at:.1%}",
            color=mark.colour,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=9.5,
        )


def spread(values: Sequence[float], *, gap: float) -> list[float]:
    """Places for labels near their values: in the same order, at least ``gap`` apart.

    Labels that crowd are laid out around their common mean: isotonic regression on the values
    less their ranks times the gap, by pooling adjacent violators (Ayer et al. 1955).
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, size = values[index] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, members = blocks.pop()
            mean = (before * members + mean * size) / (members + size)
            size += members
        blocks.append((mean, size))
    bases = [mean for mean, size in blocks for _ in range(size)]
    places = [0.0] * len(values)
    for rank, index in enumerate(order):
        places[index] = bases[rank] + rank * gap
    return places
