"""Faces in memory: 48x48 grey images with an emotion and a patient. Not how they are read.

The class order is FER-2013's code order (Goodfellow et al. 2013, "Challenges in Representation
Learning"), and so is the order of every confusion matrix and per-class table in Fedward.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedward.common.errors import DataError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SPLITS = ("Training", "PublicTest", "PrivateTest")
VALIDATION = "Validation"  # a part of Training, see common/validation.py
SIDE = 48


@dataclass(frozen=True)
class FaceSet:
    """Faces of one owner.

    Attributes:
        images: uint8 grey levels, shape (n, 48, 48); may be a read-only memory map.
        labels: int64 codes into EMOTIONS, shape (n,).
        patients: int64 patient numbers, shape (n,); where a source knows none, one per image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "FaceSet":
        """The faces of these rows, copied, in this order."""
        return FaceSet(np.asarray(self.images[rows]), self.labels[rows], self.patients[rows])

    def label_counts(self) -> list[int]:
        """How many faces of each emotion, in code order."""
        return [int(n) for n in np.bincount(self.labels, minlength=len(EMOTIONS))]


@dataclass(frozen=True)
class Curation:
    """What was left out of a source before use, and why (see common/curate.py for the rules)."""

    duplicates_removed: int = 0
    conflicting_labels: int = 0
    blank_removed: int = 0


@dataclass(frozen=True)
class FaceData:
    """A curated source of faces: a training part and the test splits that it has.

    Attributes:
        source: what a person would call it (a path's name, "synthetic").
        sha256: of the source file(s), or of the generator's arrays.
        training: the Training split after curation.
        tests: PublicTest and PrivateTest, as far as the source has them.
        curation: what was left out.
    """

    source: str
    sha256: str
    training: FaceSet
    tests: Mapping[str, FaceSet]
    curation: Curation = field(default_factory=Curation)

    def test(self, split: str) -> FaceSet:
        """The faces of a test split, or of "all" of them, one after the other.

        Raises:
            DataError: when the source lacks it, or for "all" one of them.
        """
        wanted = _parts(split)
        if missing := [name for name in wanted if name not in self.tests]:
            have = ", ".join(self.tests) or "no test split"
            raise DataError(
                f"{self.source} has {have}, not {' or '.join(missing)}: name a split that it has "
                "(--test-split; --split of evaluate and bench accuracy)"
            )
        parts = [self.tests[name] for name in wanted]
        if len(parts) == 1:
            return parts[0]
        return FaceSet(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.patients for part in parts]),
        )


def split_name(split: str) -> str:
    """What results call a split: "PublicTest+PrivateTest" for "all", else the split's own name."""
    return "+".join(_parts(split))


def _parts(split: str) -> tuple[str, ...]:
    """The splits that a study's ``test_split`` stands for."""
    return {"all": SPLITS[1:], "validation": (VALIDATION,)}.get(split, (split,))
