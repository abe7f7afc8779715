"""Faces as a source publishes them: in their splits, duplicates and all. Readers make them.

common/curate.py decides which of them are used.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedward.common.errors import DataError
from fedward.common.faces import EMOTIONS, SIDE, SPLITS

MOST_FACES = 1_000_000  # 2.3 GB of pixels: what claims to hold more is damaged or malicious
TRAINING = SPLITS.index("Training")

Progress = Callable[[float], None]
"""Told how far the reading is, from 0 to 1."""


class RawFace(NamedTuple):
    """One face: a code into EMOTIONS, a code into SPLITS, and 2,304 grey levels by rows."""

    label: int
    split: int
    pixels: bytes


@dataclass(frozen=True)
class RawFaces:
    """All faces of a source.

    Attributes:
        images: uint8 grey levels, shape (n, 48, 48).
        labels: int64 codes into EMOTIONS, shape (n,).
        splits: int64 codes into SPLITS, shape (n,).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "RawFaces":
        """The faces of these rows, copied, in this order."""
        return RawFaces(self.images[rows], self.labels[rows], self.splits[rows])

    def counts(self) -> NDArray[np.int64]:
        """How many faces of each split (rows) and emotion (columns): shape (3, 7)."""
        table = np.zeros((len(SPLITS), len(EMOTIONS)), dtype=np.int64)
        np.add.at(table, (self.splits, self.labels), 1)
        return table


def gather(faces: Iterable[RawFace], source: str) -> RawFaces:
    """Collect what a reader yields, one copy of the pixels in memory.

    Raises:
        DataError: if there is no face, if there are absurdly many, or if the Training split has
            faces but lacks an emotion. ``source`` names the source in these messages.
    """
    pixels, labels, splits = bytearray(), bytearray(), bytearray()
    for face in faces:
        if len(labels) == MOST_FACES:
            raise DataError(f"{source}: more than {MOST_FACES:,} images; split it, or check it")
        pixels += face.pixels
        labels.append(face.label)
        splits.append(face.split)
    if not labels:
        raise DataError(f"{source}: holds no images; download or unpack the data set again")
    gathered = RawFaces(
        np.frombuffer(pixels, dtype=np.uint8).reshape(-1, SIDE, SIDE),
        np.frombuffer(labels, dtype=np.uint8).astype(np.int64),
        np.frombuffer(splits, dtype=np.uint8).astype(np.int64),
    )
    _check_emotions(gathered, source)
    return gathered


def _check_emotions(faces: RawFaces, source: str) -> None:
    training = faces.counts()[TRAINING]
    missing = [name for name, count in zip(EMOTIONS, training, strict=True) if count == 0]
    if missing and training.any():
        raise DataError(
            f"{source}: Training holds no image of {', '.join(missing)}; "
            "every emotion needs at least one, add some"
        )
