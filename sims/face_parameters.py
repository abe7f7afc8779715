"""What a synthetic face is made of: who the patient is, what the face does, how it is photographed.

Every quantity is a column, float32 of shape (n, 1, 1), so that it meets (n, 48, 48) canvases
without a loop. Lengths are in half image sides: the image spans -1 to 1, to the right and down.
Grey levels run from 0 (black) to 1 (white).

The spreads are chosen for a difficulty near that of real faces at the default size: a linear model
on the pixels stays below 60 %, a compact CNN passes 85 %, and more faces help it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float32]


class Identity(NamedTuple):
    """What stays from one image of a patient to the next."""

    head_width: Column
    head_height: Column
    jaw: Column  # how much narrower the chin is than the temples
    skin: Column
    hair: Column
    hairline: Column
    hair_volume: Column
    hair_length: Column  # how far down it falls beside the face
    parting: Column
    eye_spacing: Column
    eye_height: Column
    eye_width: Column
    iris: Column
    brow_weight: Column
    brow_length: Column
    nose_width: Column
    nose_length: Column
    mouth_height: Column
    mouth_width: Column
    lip_weight: Column
    lip_tone: Column  # a fraction of the skin's
    beard: Column  # 0 is none, as in moustache and glasses
    moustache: Column
    glasses: Column
    folds: Column  # how deep the folds of an expression show
    expressiveness: Column
    clothes: Column
    backdrop: Column

    def take(self, rows: NDArray[np.int64]) -> "Identity":
        """The identities of these rows, in this order."""
        return Identity(*(column[rows] for column in self))


class Expression(NamedTuple):
    """What the muscles do. All zero is a face at rest; one is a strong movement."""

    brow_lift: Column
    brow_tilt: Column  # above zero the inner ends go down (anger), below zero up (grief)
    brow_arch: Column
    brow_gather: Column
    lid_open: Column
    lid_squeeze: Column
    lid_droop: Column  # the outer ends hang
    nose_wrinkle: Column
    cheek: Column
    forehead: Column
    mouth_width: Column
    mouth_curve: Column  # above zero the corners go up
    mouth_open: Column
    mouth_square: Column
    lip_raise: Column  # the upper lip is drawn towards the nose
    lip_press: Column
    teeth: Column

    def take(self, rows: slice) -> "Expression":
        """The expressions of these rows."""
        return Expression(*(column[rows] for column in self))


class Shot(NamedTuple):
    """One photograph: pose, light, what stands in the way, and the sensor."""

    shift_x: Column
    shift_y: Column
    rotation: Column  # radians, clockwise
    scale: Column
    yaw: Column
    pitch: Column
    light_x: Column
    light_y: Column
    gain: Column
    offset: Column
    backdrop_slope: Column
    occluded: Column  # 1 where something covers a part of the face, otherwise 0
    occluder_angle: Column
    occluder_reach: Column
    occluder_tone: Column
    blur: Column
    noise: Column

    def take(self, rows: slice) -> "Shot":
        """The shots of these rows."""
        return Shot(*(column[rows] for column in self))


# Two ways to show each emotion, in code order, after the action units of Ekman and Friesen (1978,
# "Facial Action Coding System"). The columns are the fields of Expression, in order.
_LOOKS = np.array(
    [
        # brows               lids             nose chk  fore mouth               lip        teeth
        # angry: lips pressed, or bared teeth
        [-0.8, 1.1, 0.0, 0.9, -0.1, 0.3, 0.0, 0.1, 0.0, 0.0, -0.2, -0.5, 0.0, 0.0, 0.0, 1.0, 0.0],
        [-0.8, 1.1, 0.0, 0.9, 0.2, 0.3, 0.0, 0.3, 0.2, 0.0, 0.2, -0.3, 0.7, 1.0, 0.2, 0.0, 1.2],
        # disgust: upper lip raised, mouth shut or ajar
        [-0.5, 0.3, 0.0, 0.4, -0.6, 0.9, 0.0, 1.1, 0.6, 0.0, -0.1, -0.9, 0.0, 0.0, 1.0, 0.0, 0.0],
        [-0.6, 0.3, 0.0, 0.5, -0.5, 0.9, 0.0, 1.1, 0.5, 0.0, 0.0, -0.8, 0.3, 0.3, 1.1, 0.0, 0.5],
        # fear: stretched mouth, nearly shut or open
        [0.8, -0.8, -0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.3, -0.5, 0.3, 0.9, 0.0, 0.0, 0.3],
        [0.7, -0.9, -0.5, 0.6, 1.0, 0.0, 0.0, 0.0, 0.0, 0.8, 0.4, -0.5, 0.6, 0.9, 0.0, 0.0, 0.8],
        # happy: smiling or laughing
        [0.1, 0.0, 0.2, 0.0, -0.2, 0.6, 0.0, 0.0, 0.9, 0.0, 0.7, 1.0, 0.0, 0.0, 0.0, 0.1, 0.0],
        [0.1, 0.0, 0.2, 0.0, -0.3, 0.7, 0.0, 0.0, 1.0, 0.0, 0.9, 1.0, 0.8, 0.0, 0.0, 0.0, 1.3],
        # sad: eyes lowered or nearly closed
        [0.1, -1.1, -0.2, 0.5, -0.4, 0.0, 0.8, 0.0, 0.0, 0.3, -0.2, -1.0, 0.0, 0.0, 0.0, 0.1, 0.0],
        [0.0, -1.0, -0.2, 0.5, -0.8, 0.2, 0.8, 0.0, 0.2, 0.2, 0.0, -1.1, 0.1, 0.0, 0.0, 0.0, 0.0],
        # surprise: mouth round, wide open or less so
        [1.1, 0.0, 0.8, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.6, -0.4, 0.1, 0.7, 0.0, 0.0, 0.0, 0.1],
        [1.2, 0.0, 0.8, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.8, -0.5, 0.0, 1.2, 0.0, 0.0, 0.0, 0.0],
        # neutral
        [0.0] * 17,
        [0.0] * 17,
    ],
    dtype=np.float32,
).reshape(7, 2, 17)
_RESTING_SPREAD = 0.12  # how much the faces of patients differ at rest
_MOMENT_SPREAD = 0.13  # how much one patient's looks differ
_INTENSITY = (0.5, 1.15)  # from subtle to strong


def draw_identities(count: int, rng: np.random.Generator) -> Identity:
    """Patients, at random."""

    def between(low: float, high: float) -> Column:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    def some(share: float) -> Column:
        return (rng.random((count, 1, 1)) < share).astype(np.float32)

    long_hair, bearded = some(0.4), some(0.2)
    return Identity(
        head_width=between(0.56, 0.72),
        head_height=between(0.80, 0.95),
        jaw=between(0.05, 0.32),
        skin=between(0.38, 0.85),
        hair=between(0.04, 0.60),
        hairline=between(-0.80, -0.52),
        hair_volume=between(0.02, 0.09) + long_hair * between(0.0, 0.12),
        hair_length=between(-0.5, 0.0) + long_hair * between(0.4, 1.2),
        parting=between(-0.3, 0.3),
        eye_spacing=between(0.23, 0.31),
        eye_height=between(-0.24, -0.14),
        eye_width=between(0.13, 0.18),
        iris=between(0.05, 0.35),
        brow_weight=between(0.025, 0.055),
        brow_length=between(0.15, 0.21),
        nose_width=between(0.09, 0.16),
        nose_length=between(0.27, 0.38),
        mouth_height=between(0.40, 0.50),
        mouth_width=between(0.20, 0.29),
        lip_weight=between(0.02, 0.06),
        lip_tone=between(0.50, 0.85),
        beard=bearded * between(0.3, 0.8),
        moustache=np.maximum(bearded, some(0.06)) * between(0.4, 0.8),
        glasses=some(0.15) * between(0.5, 0.9),
        folds=between(0.4, 1.0),
        expressiveness=between(0.85, 1.1),
        clothes=between(0.05, 0.9),
        backdrop=between(0.05, 0.95),
    )


def draw_expressions(
    labels: NDArray[np.int64],
    patients: NDArray[np.int64],
    expressiveness: Column,
    rng: np.random.Generator,
    *,
    moment_spread: float = _MOMENT_SPREAD,
) -> Expression:
    """One expression an image, shape (n,) labels and patients: its emotion's, varied.

    ``expressiveness`` has one row per image. Neighbours of an emotion differ in the way it is
    shown, in intensity, in how the patient's face looks at rest, and by chance: every muscle on its
    own, with a standard deviation of ``moment_spread``.
    """
    count, fields = len(labels), _LOOKS.shape[-1]
    mixture = np.clip(rng.uniform(-0.5, 1.5, (count, 1)), 0, 1)
    looks = (1 - mixture) * _LOOKS[labels, 0] + mixture * _LOOKS[labels, 1]
    intensity = rng.uniform(*_INTENSITY, (count, 1)) * expressiveness[:, :, 0]
    resting = rng.normal(0, _RESTING_SPREAD, (int(patients.max()) + 1, fields))
    moment = rng.normal(0, moment_spread, (count, fields))
    values = (looks * intensity + resting[patients] + moment).astype(np.float32)
    return Expression(*values.T[:, :, None, None])


def draw_shots(count: int, rng: np.random.Generator) -> Shot:
    """Photographs, at random."""

    def between(low: float, high: float) -> Column:
        return rng.uniform(low, high, (count, 1, 1)).astype(np.float32)

    def around(centre: float, spread: float) -> Column:
        values = centre + spread * np.clip(rng.standard_normal((count, 1, 1)), -2.5, 2.5)
        return values.astype(np.float32)

    return Shot(
        shift_x=around(0, 0.07),
        shift_y=around(0, 0.07),
        rotation=around(0, 0.11),
        scale=around(1.12, 0.075),
        yaw=around(0, 0.4),
        pitch=around(0, 0.4),
        light_x=around(0, 0.22),
        light_y=around(-0.05, 0.15),
        gain=between(0.55, 1.05),
        offset=between(0.0, 0.2),
        backdrop_slope=around(0, 0.15),
        occluded=(rng.random((count, 1, 1)) < 0.06).astype(np.float32),
        occluder_angle=between(0.0, 2 * np.pi),
        occluder_reach=between(0.35, 0.7),
        occluder_tone=between(0.1, 0.9),
        blur=between(0.0, 1.0),
        noise=between(0.005, 0.04),
    )
