"""What networks are taught on: drawn faces, and the numbers that each was drawn with.

Faces are drawn closer than those of the synthetic data set and with muscles that move more freely.
What is asked for: how far every muscle is moved, the features of the person, pose and light, and
the emotion.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedward.common.faces import EMOTIONS
from fedward.common.seeds import numpy_generator
from fedward.sims.face_drawing import draw_many
from fedward.sims.face_parameters import (
    Column,
    Identity,
    Shot,
    draw_expressions,
    draw_identities,
    draw_shots,
)

CLOSENESS = (1.38, 0.11)  # mean and spread of the scale: faces fill a 48x48 crop
MOMENT_SPREAD = 0.4
IMAGES_PER_PATIENT = 2
UNSEEN = {"parting", "backdrop", "clothes", "expressiveness"}  # of a person: not to be asked for
GROUP_WEIGHTS = {"expression": 1.0, "identity": 0.25, "shot": 0.5}


@dataclass(frozen=True)
class Lesson:
    """Drawn faces with what they show.

    Attributes:
        images: uint8 (n, 48, 48).
        numbers: what each was drawn with, standardised, float32 (n, k).
        weights: of the numbers in the loss, (k,).
        labels: emotion codes, int64 (n,).
    """

    images: NDArray[np.uint8]
    numbers: Tensor
    weights: Tensor
    labels: Tensor


def draw_lesson(faces: int, seed: int) -> Lesson:
    """Draw so many faces, an even number."""

    def rng(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, "pretrain", purpose)

    owners = np.repeat(np.arange(faces // IMAGES_PER_PATIENT), IMAGES_PER_PATIENT)
    labels = rng("labels").integers(0, len(EMOTIONS), len(owners))
    who = draw_identities(len(owners) // IMAGES_PER_PATIENT, rng("identities"))
    shown = draw_expressions(
        labels,
        owners,
        who.expressiveness[owners],
        rng("expressions"),
        moment_spread=MOMENT_SPREAD,
    )
    shots = _closer(draw_shots(len(owners), rng("shots")), rng("scale"))
    images = draw_many(who, owners, shown, shots, rng("noise"))
    groups = {
        "expression": list(shown),
        "identity": _visible(who.take(owners)),
        "shot": _mirrorless(shots),
    }
    numbers = np.concatenate([column[:, 0] for group in groups.values() for column in group], 1)
    weights = [GROUP_WEIGHTS[name] for name, group in groups.items() for _ in group]
    scaled = (numbers - numbers.mean(0)) / numbers.std(0)
    return Lesson(
        images, torch.from_numpy(scaled).float(), torch.tensor(weights), torch.from_numpy(labels)
    )


def _closer(shots: Shot, rng: np.random.Generator) -> Shot:
    mean, spread = CLOSENESS
    drawn = np.clip(rng.standard_normal(shots.scale.shape), -2.5, 2.5)
    return shots._replace(scale=(mean + spread * drawn).astype(np.float32))


def _visible(who: Identity) -> list[Column]:
    return [column for name, column in who._asdict().items() if name not in UNSEEN]


def _mirrorless(shots: Shot) -> list[Column]:
    """Pose and light, without what changes when an image is mirrored."""
    return [np.abs(shots.yaw), shots.pitch, np.abs(shots.light_x), shots.light_y, shots.blur]
