"""The figures of a run: PNG files of what its result and a few test faces show. Not the report.

Drawn with matplotlib's object interface: no window, no global state. No figure grows without bound
with the hospitals: above NAMED of them, rows and bars lose their names and are sorted instead.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fedward.common.faces import EMOTIONS
from fedward.common.files import writing
from fedward.common.result import HospitalPart, Result
from fedward.server.drawing import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    PALE,
    PURPLE,
    SHADES,
    SKY,
    VERMILION,
    Mark,
    canvas,
    cell,
    finish,
    label_ends,
    part_cells,
    png,
    shorten,
)

NAMED = 40
SHOWN = 12
COLUMNS = 6


@dataclass(frozen=True)
class Samples:
    """A few faces of the test split with the released model's answers.

    Attributes:
        images: uint8 grey levels, shape (n, 48, 48).
        labels: int64 codes into EMOTIONS, shape (n,).
        predicted: int64 codes into EMOTIONS, shape (n,).
        confidence: the model's probability of its answer, shape (n,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]


def write_figures(result: Result, samples: Samples, folder: Path) -> None:
    """Draw what the result has to show into ``folder``, one PNG a figure.

    A figure without anything to show (no round yet, no test, no sample) is not written, and one
    of that name from an earlier state of the run is removed.

    Raises:
        RunError: when the folder cannot be written; no half-written file remains.
    """
    for name, draw in DRAWN.items():
        figure = draw(result)
        _write(figure, folder / f"{name}.png")
    _write(sample_predictions(samples), folder / "samples.png")


def _write(figure: Figure | None, path: Path) -> None:
    if figure is None:
        path.unlink(missing_ok=True)
    else:
        with writing(path) as temporary:
            temporary.write_bytes(png(figure))


def learning_curves(result: Result) -> Figure | None:
    """Accuracy and macro-F1 by round, with the most common emotion and the baselines as lines."""
    if not result.rounds:
        return None
    figure = canvas(9.0, 4.6)
    axes = figure.subplots()
    rounds = [part.round for part in result.rounds]
    marks = reference_marks(result)
    for mark in marks:
        axes.axhline(mark.at, color=mark.colour, linewidth=1.2, linestyle=DASHES)
    accuracy, macro = zip(*((part.accuracy, part.macro_f1) for part in result.rounds), strict=True)
    for name, values, colour in (("accuracy", accuracy, BLUE), ("macro-F1", macro, VERMILION)):
        dots = "o" if len(rounds) <= 30 else ""
        axes.plot(rounds, values, color=colour, linewidth=2.2, marker=dots, markersize=4.5)
        marks.append(Mark(values[-1], name, colour))
    highest = max(*accuracy, *macro, *(mark.at for mark in marks))
    axes.set_ylim(0, math.ceil((highest + 0.03) * 10) / 10)
    axes.set_xlim(rounds[0] - 0.3, rounds[-1] + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_xlabel("round", color=GREY)
    label_ends(axes, marks)
    split = result.test.split if result.test else "the test split"
    return finish(figure, f"The model after each round, on {split}")


def reference_marks(result: Result) -> list[Mark]:
    """What a model should be held against, as far as the result knows it."""
    marks = []
    if result.test is not None:
        support = np.array(result.test.confusion).sum(axis=1)
        share, most = support.max() / max(1, support.sum()), EMOTIONS[support.argmax()]
        marks.append(Mark(float(share), f"always “{most}”", GREY))
    if result.baselines.pooled is not None:
        marks.append(Mark(result.baselines.pooled.accuracy, "pooled training", GREEN))
    if alone := [score.accuracy for score in result.baselines.alone.values()]:
        marks.append(Mark(float(np.median(alone)), "a hospital alone, median", PURPLE))
    return marks


def confusion_matrix(result: Result) -> Figure | None:
    """True emotion by row, predicted by column: shares of the row, with counts."""
    if result.test is None:
        return None
    counts = np.array(result.test.confusion)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    figure = canvas(7.6, 6.4)
    axes = figure.subplots()
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(counts.shape):
        text = f"{shares[row, column]:.0%}\n{counts[row, column]:,}" if totals[row] else "–"
        cell(axes, row, column, text, float(shares[row, column]))
    axes.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    axes.set_yticks(range(len(EMOTIONS)), _with_totals(totals))
    axes.set_xlabel("predicted", color=GREY)
    axes.set_ylabel("true, with number of images", color=GREY)
    part_cells(axes)
    return finish(figure, f"What {result.test.split} faces are taken for")


def hospital_table(result: Result) -> Figure | None:
    """Who has what: counts of each emotion at each hospital, with its size and camera."""
    if not result.hospitals:
        return None
    named = len(result.hospitals) <= NAMED
    hospitals = list(result.hospitals)
    if not named:
        hospitals.sort(key=lambda hospital: -hospital.examples)
    counts = np.array([hospital.label_counts for hospital in hospitals])
    figure = canvas(10.0, 1.6 + 0.3 * len(hospitals) if named else 8.4)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3.4, 1.0])
    norm = PowerNorm(0.5, vmin=0, vmax=max(1, int(counts.max())))
    image = left.imshow(counts, cmap=SHADES, norm=norm, aspect="auto")
    left.set_xticks(range(len(EMOTIONS)), _with_totals(counts.sum(axis=0)))
    left.xaxis.tick_top()
    right.xaxis.set_label_position("top")
    if named:
        for row, column in np.ndindex(counts.shape):
            cell(left, row, column, f"{counts[row, column]:,}", float(norm(counts[row, column])))
        _name_rows(left, right, hospitals)
    else:
        _sort_rows(left, right, hospitals, image)
    return finish(figure, "Who has what")


def _name_rows(left: Axes, right: Axes, hospitals: Sequence[HospitalPart]) -> None:
    part_cells(left)
    left.set_yticks(range(len(hospitals)), [shorten(hospital.name) for hospital in hospitals])
    sizes = [hospital.examples for hospital in hospitals]
    right.barh(range(len(hospitals)), sizes, color=SKY, height=0.66)
    right.set_xlim(0, 2.1 * max(1, *sizes))
    right.set_xticks([])
    right.set_xlabel("images and camera", color=GREY)
    for row, hospital in enumerate(hospitals):
        text = f" {hospital.examples:,}  {shorten(hospital.camera, 16)}"
        right.text(hospital.examples, row, text, va="center", fontsize=9, color=INK)


def _sort_rows(
    left: Axes, right: Axes, hospitals: Sequence[HospitalPart], image: AxesImage
) -> None:
    left.set_yticks([])
    left.set_ylabel(f"{len(hospitals):,} hospitals, largest first", color=GREY)
    right.barh(range(len(hospitals)), [h.examples for h in hospitals], color=SKY, height=1.0)
    right.xaxis.tick_top()
    right.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    right.set_xlabel("images", color=GREY)
    bar = image.figure.colorbar(image, ax=left, orientation="horizontal", shrink=0.6, aspect=40)
    bar.set_label("images of the emotion", color=GREY)


def hospital_accuracy(result: Result) -> Figure | None:
    """The released model on each hospital's own test images; those without any are left out."""
    scored = [hospital for hospital in result.hospitals if hospital.accuracy is not None]
    if not scored:
        return None
    named = len(scored) <= NAMED
    if not named:
        scored.sort(key=lambda hospital: hospital.accuracy or 0.0)
    accuracy = [hospital.accuracy or 0.0 for hospital in scored]
    macro = [math.nan if h.macro_f1 is None else h.macro_f1 for h in scored]
    figure = canvas(9.0, 1.7 + 0.32 * len(scored) if named else 4.4)
    axes = figure.subplots()
    if named:
        _bars_across(axes, [shorten(hospital.name) for hospital in scored], accuracy, macro)
    else:
        _bars_up(axes, accuracy, macro)
    if result.test is not None:
        line = axes.axvline if named else axes.axhline
        label = f"accuracy on all of {result.test.split}"
        line(result.test.accuracy, color=INK, linewidth=1.2, linestyle=DASHES, label=label)
    keys = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda key: key[1])
    figure.legend(
        [handle for handle, _ in keys],
        [label for _, label in keys],
        loc="outside lower left",
        ncols=3,
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
    )
    return finish(figure, "The model at each hospital, on its own test images")


def _bars_across(
    axes: Axes, names: Sequence[str], accuracy: Sequence[float], macro: Sequence[float]
) -> None:
    axes.barh(range(len(names)), accuracy, color=SKY, height=0.66, label="accuracy")
    axes.scatter(macro, range(len(names)), color=VERMILION, s=26, zorder=3, label="macro-F1")
    for place, value in enumerate(accuracy):
        axes.text(1.01, place, f"{value:.1%}", va="center", fontsize=9.5, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _bars_up(axes: Axes, accuracy: Sequence[float], macro: Sequence[float]) -> None:
    axes.bar(range(len(accuracy)), accuracy, color=SKY, width=1.0, label="accuracy")
    axes.scatter(range(len(macro)), macro, color=VERMILION, s=7, zorder=3, label="macro-F1")
    axes.set_xlim(-0.5, len(accuracy) - 0.5)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(accuracy):,} hospitals, lowest accuracy first", color=GREY)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def sample_predictions(samples: Samples) -> Figure | None:
    """A few faces that the model names right, and a few that it does not."""
    hits = samples.labels == samples.predicted
    groups = [("Right", 1.8, np.flatnonzero(hits)), ("Wrong", 2.1, np.flatnonzero(~hits))]
    groups = [(title, height, rows[:SHOWN]) for title, height, rows in groups if len(rows)]
    if not groups:
        return None
    heights = [0.5 + height * math.ceil(len(rows) / COLUMNS) for _, height, rows in groups]
    figure = canvas(9.0, sum(heights))
    parts = figure.subfigures(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (title, _, rows) in zip(parts, groups, strict=True):
        part.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
        grid = part.subplots(math.ceil(len(rows) / COLUMNS), COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, row in zip(grid.flat, rows, strict=False):
            _face(axes, samples, int(row))
    return figure


def _face(axes: Axes, samples: Samples, row: int) -> None:
    true, said = EMOTIONS[samples.labels[row]], EMOTIONS[samples.predicted[row]]
    axes.imshow(samples.images[row], cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    colour = BLUE if true == said else VERMILION
    axes.set_title(f"{said} {samples.confidence[row]:.0%}", fontsize=10, color=colour, pad=4)
    if true != said:
        axes.text(23.5, 49.5, f"is {true}", ha="center", va="top", fontsize=10, color=INK)


def _with_totals(totals: NDArray[np.int64]) -> list[str]:
    return [f"{name}\n{total:,}" for name, total in zip(EMOTIONS, totals, strict=True)]


DRAWN: dict[str, Callable[[Result], Figure | None]] = {
    "learning_curves": learning_curves,
    "confusion": confusion_matrix,
    "hospitals": hospital_table,
    "hospital_accuracy": hospital_accuracy,
}
