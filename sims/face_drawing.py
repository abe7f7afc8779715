"""Draws synthetic faces, back to front, in the shapes of sims/soft_shapes.py.

Parameters are the columns of sims/face_parameters.py, canvases float32 of shape (n, 48, 48); the
left and the right half of a face are drawn at once, in its unsigned distance from the nose.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedward.common.faces import SIDE
from fedward.sims.face_parameters import Expression, Identity, Shot
from fedward.sims.soft_shapes import Field, bump, clamp, cover, darken, ellipse, paint, segment

_CHUNK = 64  # images at a time stay in the processor's cache
_AXIS = (np.arange(SIDE, dtype=np.float32) + 0.5) * 2 / SIDE - 1  # the pixels' centres


class _Plane(NamedTuple):
    """Where every pixel lies on the face; zero is near the root of the nose."""

    across: Field
    side: Field  # across, unsigned
    down: Field


def draw(
    who: Identity, face: Expression, shot: Shot, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Photographs, uint8 of shape (n, 48, 48). ``rng`` adds the sensor's noise."""
    x, y = _image_plane(shot)
    canvas = np.broadcast_to(who.backdrop + shot.backdrop_slope * x, x.shape).copy()
    inside = _paint_head(canvas, x, y, who)
    plane = _turned(x, y, who, shot)
    _paint_brow_lines(canvas, plane, who, face)
    _paint_cheeks(canvas, plane, who, face)
    _paint_nose(canvas, plane, who, face)
    _paint_beard(canvas, inside, plane, who)
    _paint_mouth(canvas, plane, who, face)
    _paint_eyes(canvas, plane, who, face)
    _paint_brows(canvas, plane, who, face)
    _paint_glasses(canvas, plane, who)
    _paint_hair(canvas, inside, plane, x, y, who)
    _paint_occluder(canvas, x, y, shot)
    return _expose(canvas, shot, rng)


def draw_many(
    who: Identity,
    owners: NDArray[np.int64],
    faces: Expression,
    shots: Shot,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """As ``draw``, without memory for all canvases; image i shows the identity ``owners[i]``."""
    images = np.empty((len(owners), SIDE, SIDE), dtype=np.uint8)
    for start in range(0, len(owners), _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows] = draw(who.take(owners[rows]), faces.take(rows), shots.take(rows), rng)
    return images


def _image_plane(shot: Shot) -> tuple[Field, Field]:
    """The pixel centres in the coordinates of the upright, centred head."""
    x, y = _AXIS - shot.shift_x, _AXIS[:, None] - shot.shift_y
    cos, sin = np.cos(shot.rotation) / shot.scale, np.sin(shot.rotation) / shot.scale
    return cos * x + sin * y, cos * y - sin * x


def _turned(x: Field, y: Field, who: Identity, shot: Shot) -> _Plane:
    """The features' coordinates: they move over the head as it turns and nods."""
    bulge = np.maximum(1 - (x / who.head_width) ** 2, 0)
    across = x - 0.12 * shot.yaw * bulge
    return _Plane(across, np.abs(across), y - 0.08 * shot.pitch)


# -- parts of the face ---------------------------------------------------------------------------


def _paint_head(canvas: Field, x: Field, y: Field, who: Identity) -> Field:
    """Hair behind, neck, ears and the skin, rounded by shade; returns the head's cover."""
    mane = ellipse(x, np.minimum(y, 0), who.head_width + who.hair_volume, who.head_height)
    mane = np.maximum(mane - 0.5 * who.hair_volume, y - who.hair_length + 0.5 * x * x)
    paint(canvas, cover(mane), who.hair)
    paint(canvas, cover(np.maximum(np.abs(x) - 0.34, 0.5 - y)), 0.72 * who.skin)
    paint(canvas, cover(ellipse(x, y - 1.3, 1.0, 0.45)), who.clothes)
    ears = ellipse(np.abs(x) - who.head_width, y + 0.05, 0.07, 0.16)
    paint(canvas, cover(np.maximum(ears, who.hair_length - 0.4)), 0.85 * who.skin)
    width = who.head_width * (1 - who.jaw * clamp(0.3 + y) ** 2)
    distance = ellipse(x, y, width, who.head_height)
    inside = cover(distance)
    rounding = 0.72 + 0.28 * np.sqrt(clamp(-distance / 0.35))
    paint(canvas, inside, who.skin * rounding)
    return inside


def _paint_brow_lines(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """Lines across the forehead, between the brows and over the root of the nose."""
    across, side, down = plane
    depth = 0.5 * who.folds
    lines = bump(0 * down, down + 0.50, 1.0, 0.045) + bump(0 * down, down + 0.60, 1.0, 0.04)
    darken(canvas, lines * clamp(1.6 - 4 * side) * clamp(face.forehead) * depth)
    root = down - who.eye_height
    frown = bump(side - 0.06, root + 0.15, 0.045, 0.14)
    darken(canvas, frown * clamp(face.brow_gather) * depth)
    wrinkles = bump(across, root - 0.02, 0.16, 0.045) + bump(across, root - 0.12, 0.18, 0.045)
    darken(canvas, wrinkles * clamp(face.nose_wrinkle) * 1.3 * depth)


def _paint_cheeks(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """Raised cheeks catch the light; a fold runs from the nose to the corner of the mouth."""
    _, side, down = plane
    apples = bump(side - 0.36, down - who.eye_height - 0.32, 0.2, 0.16)
    canvas += 0.14 * clamp(face.cheek) * who.skin * apples
    nose = who.eye_height + who.nose_length
    start = who.nose_width + 0.03
    reach = who.mouth_width * (1 + 0.35 * face.mouth_width) + 0.09 - start
    fold = segment(side - start, down - nose, reach, who.mouth_height - 0.02 - nose) - 0.012
    depth = 0.5 * who.folds * clamp(np.maximum(face.cheek, face.nose_wrinkle))
    darken(canvas, cover(fold) * depth)


def _paint_nose(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """A shaded bridge with a light ridge, the shadow under the tip, the nostrils."""
    across, side, down = plane
    tip = down - who.eye_height - who.nose_length + 0.05 * clamp(face.nose_wrinkle)
    flare = who.nose_width * (1 + 0.25 * clamp(face.nose_wrinkle))
    darken(canvas, 0.22 * bump(side - 0.85 * flare, tip + 0.12, 0.07, 0.22))
    canvas += 0.10 * who.skin * bump(across, tip + 0.12, 0.07, 0.25)
    darken(canvas, 0.30 * bump(across, tip - 0.03, flare * 1.3, 0.06))
    darken(canvas, 0.65 * bump(side - 0.6 * flare, tip, 0.055, 0.04))


def _paint_beard(canvas: Field, inside: Field, plane: _Plane, who: Identity) -> None:
    """A beard from ear to ear, which ``inside`` the head ends; a moustache."""
    _, side, down = plane
    edge = who.mouth_height - 0.05 - 1.2 * np.maximum(side - 0.25, 0)
    paint(canvas, inside * cover(edge - down) * who.beard, who.hair)
    strip = ellipse(side, down - who.mouth_height + 0.12, who.mouth_width, 0.05)
    paint(canvas, cover(strip) * who.moustache, who.hair)


class _Mouth(NamedTuple):
    """Distances from a mouth's edges: below zero above the upper and under the lower one."""

    upper: Field
    lower: Field
    ends: Field  # above zero beyond the corners
    lips: Field  # their thickness


def _mouth(plane: _Plane, who: Identity, face: Expression) -> _Mouth:
    """Two edges around a bent line: they part in an arc, or all along in a square mouth."""
    half = who.mouth_width * (1 + 0.35 * face.mouth_width)
    squared = np.minimum((plane.across / half) ** 2, 1)
    bow = 1 - squared
    square = clamp(face.mouth_square)
    gape = np.sqrt(bow) * (1 - square) + (1 - squared * squared * squared) * square
    opening = np.maximum(face.mouth_open, 0)
    raised = 0.09 * clamp(face.lip_raise) * bow
    level = plane.down - who.mouth_height - 0.17 * face.mouth_curve * (bow - 0.5)
    return _Mouth(
        upper=level + (0.05 * opening + 0.01) * gape + raised,
        lower=(0.23 * opening + 0.01) * gape - 0.3 * raised - level,
        ends=plane.side - half,
        lips=who.lip_weight * np.clip(1 - 0.7 * face.lip_press, 0.1, 1) * (0.3 + 0.7 * bow),
    )


def _paint_mouth(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """Lips, the shadow under them, and what an open mouth shows."""
    upper, lower, ends, lips = _mouth(plane, who, face)
    rim = np.maximum(np.maximum(-upper - lips, -lower - 1.3 * lips), ends - 0.02)
    paint(canvas, cover(rim), who.lip_tone * who.skin)
    darken(canvas, 0.25 * bump(plane.across, lower + 2.2 * lips + 0.05, who.mouth_width, 0.06))
    gap = cover(np.maximum(np.maximum(-upper, -lower), ends))
    paint(canvas, gap, 0.10 * who.skin)
    above = cover(np.maximum(upper - 0.11, 0.01 - upper))
    below = clamp(face.mouth_square) * cover(np.maximum(lower - 0.08, 0.015 - lower))
    shown = clamp(face.teeth) * clamp(5 * face.mouth_open + 2 * face.lip_raise)
    paint(canvas, gap * np.maximum(above, below) * shown, 0.65 + 0.35 * who.skin)


def _paint_eyes(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """Sockets, and eyeballs between two lids."""
    x, y = plane.side - who.eye_spacing, plane.down - who.eye_height
    darken(canvas, 0.22 * bump(x, y + 0.02, 0.24, 0.2))
    ratio = np.clip(x / who.eye_width, -1, 1)
    bow = 1 - ratio * ratio
    level = y - 0.07 * clamp(face.lid_droop) * ratio
    lift = np.clip(0.085 + 0.08 * face.lid_open - 0.02 * face.lid_droop, 0.004, 0.19)
    drop = np.clip(0.05 + 0.02 * face.lid_open - 0.045 * face.lid_squeeze, 0, 0.08)
    upper, lower = level + lift * bow, drop * bow - level
    ends = np.abs(x) - who.eye_width
    eye = cover(np.maximum(np.maximum(-upper, -lower), ends))
    paint(canvas, eye, 0.4 + 0.6 * who.skin)
    paint(canvas, eye * cover(ellipse(x, y + 0.01, 0.068, 0.068)), who.iris)
    paint(canvas, 0.85 * cover(np.maximum(np.abs(upper) - 0.016, ends - 0.02)), 0.2 * who.skin)
    paint(canvas, 0.4 * cover(np.maximum(np.abs(lower) - 0.01, ends - 0.02)), 0.4 * who.skin)
    bag = clamp(face.lid_squeeze) * who.folds
    darken(canvas, 0.3 * bag * bump(x, lower + 0.07, who.eye_width, 0.04))


def _paint_brows(canvas: Field, plane: _Plane, who: Identity, face: Expression) -> None:
    """Bent strokes that are thickest at their inner ends."""
    x = plane.side - who.eye_spacing + 0.05 * face.brow_gather
    y = plane.down - who.eye_height
    ratio = np.clip(x / who.brow_length, -1.2, 1.2)
    rise = 0.225 + 0.10 * face.brow_lift + 0.085 * face.brow_tilt * ratio
    rise += (0.03 + 0.05 * face.brow_arch) * (0.5 - ratio * ratio)
    thickness = who.brow_weight * (1 - 0.5 * np.clip(ratio, -0.5, 1))
    stroke = np.maximum(np.abs(y + rise) - thickness, np.abs(x) - who.brow_length)
    paint(canvas, 0.9 * cover(stroke), np.minimum(0.7 * who.hair, 0.55 * who.skin))


def _paint_glasses(canvas: Field, plane: _Plane, who: Identity) -> None:
    x, y = plane.side - who.eye_spacing, plane.down - who.eye_height
    width = who.eye_width + 0.07
    rims = np.abs(ellipse(x, y - 0.02, width, 0.17)) - 0.014
    bridge = np.maximum(np.abs(y + 0.02) - 0.014, x + width - 0.01)
    paint(canvas, who.glasses * cover(np.minimum(rims, bridge)), 0.08)


def _paint_hair(
    canvas: Field, inside: Field, plane: _Plane, x: Field, y: Field, who: Identity
) -> None:
    """The fringe, and the strands that fall over the sides of the face."""
    line = who.hairline + who.parting * plane.across + 0.35 * plane.across**2
    fringe = np.maximum(plane.down - line, -1.0 - y)
    sides = np.maximum(0.88 * who.head_width - np.abs(x), y - who.hair_length)
    paint(canvas, inside * cover(np.minimum(fringe, sides)), who.hair)


# -- the photograph ------------------------------------------------------------------------------


def _paint_occluder(canvas: Field, x: Field, y: Field, shot: Shot) -> None:
    """A hand, a scarf, a door: a half plane that reaches in from one side."""
    along = x * np.cos(shot.occluder_angle) + y * np.sin(shot.occluder_angle)
    paint(canvas, shot.occluded * cover(shot.occluder_reach - along), shot.occluder_tone)


def _expose(canvas: Field, shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light from a side, blur, noise and 8 bits."""
    canvas = canvas * (1 + shot.light_x * _AXIS + shot.light_y * _AXIS[:, None])
    canvas += shot.blur * (_smooth(canvas) - canvas)
    canvas += shot.noise * rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.rint(clamp(shot.offset + shot.gain * canvas) * 255).astype(np.uint8)


def _smooth(canvas: Field) -> Field:
    """A binomial 3x3 filter; the border is repeated."""
    padded = np.pad(canvas, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4
