"""What is in a data set, and what of it will be left out: ``fedward data check``."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fedward.common.config import Frozen
from fedward.common.curate import Fate, blank, fates, identical_groups, label_table, split_table
from fedward.common.face_store import open_stored
from fedward.common.faces import EMOTIONS, SIDE, SPLITS, FaceData, FaceSet
from fedward.common.files import writing
from fedward.common.raw_faces import Progress, RawFaces

FACES_PER_EMOTION = 10
_SCALE, _GAP, _MARGIN = 2, 6, 92  # pixels: enlargement of a face, gap between, room for labels


class SplitReport(Frozen):
    """One split.

    Attributes:
        published: images per emotion, before curation.
        used: images per emotion, after curation.
        surplus_copies: images beyond the first of each group of identical ones.
        blank: constant images.
        left_out: images per reason: duplicate, conflict, blank.
    """

    published: dict[str, int]
    used: dict[str, int]
    surplus_copies: int
    blank: int
    left_out: dict[str, int]


class DataReport(Frozen):
    """A data set.

    Attributes:
        source, sha256: which one.
        images: in all splits, as published.
        splits: those that the source has.
        duplicate_groups: groups of two or more identical images, over all splits.
        conflicting_groups: those of them that bear several labels.
        shared: groups that lie in two splits, by the splits' names.
        duplicates_removed, conflicting_labels, blank_removed: as in result.json, over all splits.
    """

    source: str
    sha256: str
    images: int
    splits: dict[str, SplitReport]
    duplicate_groups: int
    conflicting_groups: int
    shared: dict[str, int]
    duplicates_removed: int
    conflicting_labels: int
    blank_removed: int


def inspect(path: Path, *, cache: Path, progress: Progress | None = None) -> DataReport:
    """Read a source, or open it from the cache, and count.

    Raises:
        DataError: if the source cannot be used (as ``open_faces``).
    """
    stored = open_stored(path, cache=cache, progress=progress)
    faces, groups = stored.faces, identical_groups(stored.faces.images)
    in_split = split_table(groups, faces.splits)
    several_labels = (label_table(groups, faces.labels) > 0).sum(axis=1) > 1
    return DataReport(
        source=path.resolve().name,
        sha256=stored.sha256,
        images=len(faces),
        splits=_split_reports(faces, in_split),
        duplicate_groups=int((in_split.sum(axis=1) > 1).sum()),
        conflicting_groups=int(several_labels.sum()),
        shared=_shared(in_split),
        duplicates_removed=stored.curation.duplicates_removed,
        conflicting_labels=stored.curation.conflicting_labels,
        blank_removed=stored.curation.blank_removed,
    )


def _split_reports(faces: RawFaces, in_split: NDArray[np.int64]) -> dict[str, SplitReport]:
    fate, empty = fates(faces), blank(faces.images)
    reports = {}
    for code, name in enumerate(SPLITS):
        mine = faces.splits == code
        if not mine.any():
            continue
        reports[name] = SplitReport(
            published=_by_emotion(faces.labels[mine]),
            used=_by_emotion(faces.labels[mine & (fate == Fate.KEPT)]),
            surplus_copies=int(np.maximum(in_split[:, code] - 1, 0).sum()),
            blank=int((mine & empty).sum()),
            left_out={
                reason.name.lower(): int((mine & (fate == reason)).sum())
                for reason in (Fate.DUPLICATE, Fate.CONFLICT, Fate.BLANK)
            },
        )
    return reports


def _by_emotion(labels: NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(EMOTIONS))
    return {name: int(count) for name, count in zip(EMOTIONS, counts, strict=True)}


def _shared(in_split: NDArray[np.int64]) -> dict[str, int]:
    has = in_split > 0
    present = [code for code in range(len(SPLITS)) if has[:, code].any()]
    return {
        f"{SPLITS[one]} and {SPLITS[other]}": int((has[:, one] & has[:, other]).sum())
        for one in present
        for other in present
        if one < other
    }


def render(report: DataReport) -> RenderableType:
    """The report for a terminal."""
    title = Text.assemble((report.source, "bold"), f"  {report.images:,} images, sha256 ")
    title.append(f"{report.sha256[:16]}…", style="dim")
    lines = [
        f"{report.duplicate_groups:,} groups of identical images, "
        f"{report.conflicting_groups:,} of them under several labels"
    ]
    lines += [f"{count:,} groups lie in {pair}" for pair, count in report.shared.items()]
    lines.append(
        f"left out: {report.duplicates_removed:,} duplicates, "
        f"{report.conflicting_labels:,} with conflicting labels, {report.blank_removed:,} blank"
    )
    return Group(title, _table(report), Text("\n".join(lines)))


def _table(report: DataReport) -> Table:
    """A row for each emotion, then the sums; used / published where they differ."""
    table = Table("", *report.splits)
    for column in table.columns[1:]:
        column.justify = "right"
    splits = report.splits.values()
    for emotion in EMOTIONS:
        table.add_row(emotion, *(_of(s.used[emotion], s.published[emotion]) for s in splits))
    table.add_section()
    sums = [_of(sum(s.used.values()), sum(s.published.values())) for s in splits]
    table.add_row("all", *sums, style="bold")
    table.add_section()
    table.add_row("surplus copies within", *(f"{s.surplus_copies:,}" for s in splits))
    table.add_row("blank", *(f"{s.blank:,}" for s in splits))
    for reason in ("duplicate", "conflict", "blank"):
        table.add_row(f"left out: {reason}", *(f"{s.left_out[reason]:,}" for s in splits))
    return table


def _of(used: int, published: int) -> str:
    return f"{used:,}" if used == published else f"{used:,} of {published:,}"


def contact_sheet(faces: FaceData, path: Path) -> None:
    """Write a PNG of some faces of every emotion, a row each, evenly spread over Training.

    A source without Training shows the first of its test splits.

    Raises:
        RunError: if the file cannot be written.
    """
    shown = faces.training if len(faces.training) else next(iter(faces.tests.values()))
    step = SIDE * _SCALE + _GAP
    width = _MARGIN + FACES_PER_EMOTION * step + _GAP
    sheet = Image.new("L", (width, len(EMOTIONS) * step + _GAP), color=255)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for code, emotion in enumerate(EMOTIONS):
        top = _GAP + code * step
        rows = np.flatnonzero(shown.labels == code)
        draw.text((_GAP, top + step // 3), f"{emotion}\n{len(rows):,}", fill=0, font=font)
        for column, row in enumerate(_spread(rows)):
            sheet.paste(_enlarged(shown, row), (_MARGIN + column * step, top))
    with writing(path) as unfinished:
        sheet.save(unfinished, format="PNG")


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    count = min(FACES_PER_EMOTION, len(rows))
    return rows[np.arange(count) * len(rows) // max(count, 1)]


def _enlarged(faces: FaceSet, row: np.int64) -> Image.Image:
    return Image.fromarray(np.array(faces.images[row])).resize((SIDE * _SCALE, SIDE * _SCALE))
