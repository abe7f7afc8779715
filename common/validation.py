"""The validation part of Training: what settings are chosen on, so that test splits stay unseen.

A fixed fifth of Training's patients, after curation, every patient with all images. Which ones
follows from their numbers alone, by a hash: no seed of a study and no generator of a library's
enters, so that all settings and all seeds are judged by the same faces of a source.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedward.common.errors import DataError
from fedward.common.faces import VALIDATION, FaceData
from fedward.common.seeds import derive

ONE_IN = 5
_FIXED = 0  # instead of a study's seed


def held_out(data: FaceData) -> FaceData:
    """The source with its validation part as the only test split, taken out of Training.

    Raises:
        DataError: when Training has fewer than two patients.
    """
    held = np.isin(data.training.patients, validation_patients(data.training.patients))
    if not held.any() or held.all():
        raise DataError(
            f"{data.source}: Training has too few patients for a validation part; give at least "
            f"two, or score on a test split (--test-split)"
        )
    validation = data.training.take(np.flatnonzero(held))
    return replace(
        data,
        training=data.training.take(np.flatnonzero(~held)),
        tests={VALIDATION: validation},
    )


def validation_patients(patients: NDArray[np.int64]) -> NDArray[np.int64]:
    """One in five of the different patients among these, at least one where there are any.

    Args:
        patients: patient numbers, shape (n,), in any order, repeated or not.

    Returns:
        Patient numbers, ascending, shape (m,): those whose hashes are smallest.
    """
    different = np.unique(patients)
    ranks = [derive(_FIXED, "validation", int(patient)) for patient in different]
    count = min(len(different), max(1, round(len(different) / ONE_IN)))
    return np.sort(different[np.argsort(np.array(ranks, dtype=np.int64))[:count]])
