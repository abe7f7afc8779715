"""Synthetic faces: a data set of drawn patients, so that Fedward runs where no real data is.

Every patient keeps an identity through several photographs with different emotions; pose, light
and camera change from one to the next. Patients, not images, are dealt to the splits.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fedward.common.errors import ConfigError
from fedward.common.faces import SPLITS, FaceData, FaceSet
from fedward.common.seeds import numpy_generator
from fedward.sims.face_drawing import draw_many
from fedward.sims.face_parameters import draw_expressions, draw_identities, draw_shots

# Uneven as FER-2013 is, though disgust is less rare: a small study has some in every split.
EMOTION_SHARES = (0.14, 0.07, 0.13, 0.23, 0.16, 0.12, 0.15)
TEST_SHARE = 0.15


def synthetic_faces(*, patients: int, images_per_patient: int, seed: int) -> FaceData:
    """Draw a data set of ``patients`` times ``images_per_patient`` faces.

    About 70 % of the patients are Training, 15 % PublicTest and 15 % PrivateTest. The same
    arguments give the same arrays.

    Raises:
        ConfigError: fewer than three patients (one for each split), or no images.
    """
    if patients < 3:
        raise ConfigError(
            f"data.synthetic_patients is {patients}: give at least 3, one for each split"
        )
    if images_per_patient < 1:
        raise ConfigError(
            f"data.synthetic_images_per_patient is {images_per_patient}: give at least 1"
        )
    owners = np.repeat(np.arange(patients), images_per_patient)
    tested = max(1, round(TEST_SHARE * patients))
    bounds = np.array([patients - 2 * tested, patients - tested]) * images_per_patient
    labels = np.concatenate(
        [
            _labels(len(part), seed, split)
            for split, part in zip(SPLITS, np.split(owners, bounds), strict=True)
        ]
    )
    images = _photograph(labels, owners, seed)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes() + owners.tobytes()).hexdigest()
    sets = [
        FaceSet(*parts)
        for parts in zip(
            *(np.split(array, bounds) for array in (images, labels, owners)), strict=True
        )
    ]
    return FaceData("synthetic", digest, sets[0], dict(zip(SPLITS[1:], sets[1:], strict=True)))


def _labels(count: int, seed: int, split: str) -> NDArray[np.int64]:
    """Emotions in random order, each as often as its share says: none is missing by chance."""
    ends = np.rint(np.cumsum(EMOTION_SHARES) * count).astype(np.int64)
    labels = np.searchsorted(ends, np.arange(count), side="right").astype(np.int64)
    return numpy_generator(seed, "synthetic", "labels", split).permutation(labels)


def _photograph(
    labels: NDArray[np.int64], owners: NDArray[np.int64], seed: int
) -> NDArray[np.uint8]:
    """Images of these emotions and patients."""

    def rng(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, "synthetic", purpose)

    who = draw_identities(int(owners.max()) + 1, rng("identities"))
    faces = draw_expressions(labels, owners, who.expressiveness[owners], rng("expressions"))
    return draw_many(who, owners, faces, draw_shots(len(labels), rng("shots")), rng("noise"))
