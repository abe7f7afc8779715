"""Which published faces are used: no image in two splits, no duplicates in Training.

FER-2013 was collected from a search engine and holds some images several times, also across its
splits and under different labels. Identical means equal in every pixel. The rules:

1. A Training image that is identical to a test image leaves Training.
2. A PublicTest image that is identical to a PrivateTest image leaves PublicTest.
3. Of identical Training images that agree on the label, the first stays; of those that disagree
   none stays, because nobody can tell which label is right.
4. A blank (constant) image leaves Training.
5. Within a test split everything else stays as published, so that scores compare with others'.

An image that several rules would remove counts once: as blank (4) before as a duplicate of a test
image (1) before as conflicting (3) before as a surplus copy (3).
"""

import hashlib
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fedward.common.faces import EMOTIONS, SPLITS, Curation
from fedward.common.raw_faces import RawFaces

_TRAINING, _PUBLIC, _PRIVATE = range(len(SPLITS))


class Fate(IntEnum):
    """What becomes of a published face."""

    KEPT = 0
    DUPLICATE = 1
    CONFLICT = 2
    BLANK = 3


def identical_groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the groups of pixel-identical images.

    Args:
        images: shape (n, 48, 48).

    Returns:
        shape (n,): equal numbers, from 0 without gaps, for equal images. Equality is that of
        128-bit BLAKE2 digests.
    """
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    keys = np.frombuffer(b"".join(digests), dtype="V16")
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def blank(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images (n, 48, 48) are constant; shape (n,)."""
    return np.asarray(images.min(axis=(1, 2)) == images.max(axis=(1, 2)))


def label_table(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often every group (rows) bears every label (columns): shape (groups, 7)."""
    table = np.zeros((int(groups.max(initial=-1)) + 1, len(EMOTIONS)), dtype=np.int64)
    np.add.at(table, (groups, labels), 1)
    return table


def split_table(groups: NDArray[np.int64], splits: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often every group (rows) occurs in every split (columns): shape (groups, 3)."""
    table = np.zeros((int(groups.max(initial=-1)) + 1, len(SPLITS)), dtype=np.int64)
    np.add.at(table, (groups, splits), 1)
    return table


def fates(faces: RawFaces) -> NDArray[np.int64]:
    """Apply the rules of this module.

    Returns:
        A ``Fate`` for every face, shape (n,).
    """
    groups = identical_groups(faces.images)
    held = split_table(groups, faces.splits)[groups] > 0
    training, public = faces.splits == _TRAINING, faces.splits == _PUBLIC

    # From the last rule to count an image to the first, each overwriting the ones before.
    fate = np.full(len(faces), Fate.KEPT, dtype=np.int64)
    fate[training & ~_first_of_group(groups, training)] = Fate.DUPLICATE
    fate[training & _disputed(groups, faces.labels, training)] = Fate.CONFLICT
    fate[training & (held[:, _PUBLIC] | held[:, _PRIVATE])] = Fate.DUPLICATE
    fate[training & blank(faces.images)] = Fate.BLANK
    fate[public & held[:, _PRIVATE]] = Fate.DUPLICATE
    return fate


def _first_of_group(groups: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows = np.flatnonzero(among)
    _, first = np.unique(groups[rows], return_index=True)
    is_first = np.zeros(len(groups), dtype=np.bool_)
    is_first[rows[first]] = True
    return is_first


def _disputed(
    groups: NDArray[np.int64], labels: NDArray[np.int64], among: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    different = (label_table(groups[among], labels[among]) > 0).sum(axis=1) > 1
    disputed = np.zeros(len(groups), dtype=np.bool_)
    disputed[among] = different[groups[among]]
    return disputed


def summary(fate: NDArray[np.int64]) -> Curation:
    """Count what was left out."""
    return Curation(
        duplicates_removed=int((fate == Fate.DUPLICATE).sum()),
        conflicting_labels=int((fate == Fate.CONFLICT).sum()),
        blank_removed=int((fate == Fate.BLANK).sum()),
    )
