"""Soft shapes on grey canvases: signed distances, below zero inside, and how they are painted.

An edge is about as wide as a pixel, which keeps a drawing at 48x48 smooth without drawing it
larger first. Canvases are float32 of shape (n, 48, 48) and span two units; only exactly rounded
arithmetic (no exponential, no power) shapes them, so processors agree on the result.

Source: Quilez, "2D distance functions" (the segment; the ellipse's first-order distance).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.common.faces import SIDE

Field = NDArray[np.floating[Any]]  # float32; numpy's stubs lose that where a Python float joins in
Number = Field | float

_EDGE = 2.2 / SIDE  # a little over a pixel
_TINY = 1e-6


def clamp(values: Field) -> Field:
    """The values, at least 0 and at most 1."""
    limited: Field = np.clip(values, 0, 1)
    return limited


def ellipse(x: Field, y: Field, width: Number, height: Number) -> Field:
    """Distance from an ellipse around (0, 0) with these half axes; exact near its edge."""
    u, v = x / width, y / height
    radius = np.sqrt(u * u + v * v)
    slope = np.sqrt((u / width) ** 2 + (v / height) ** 2)
    distance: Field = (radius + _TINY) * (radius - 1) / (slope + _TINY)
    return distance


def segment(x: Field, y: Field, dx: Field, dy: Field) -> Field:
    """Distance from the line between (0, 0) and (dx, dy); a thickness is to be taken off."""
    along = clamp((x * dx + y * dy) / (dx * dx + dy * dy))
    distance: Field = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
    return distance


def cover(distance: Field) -> Field:
    """How much of every pixel lies inside: 0 to 1."""
    return clamp(0.5 - distance / _EDGE)


def bump(x: Field, y: Field, width: Number, height: Number) -> Field:
    """A soft spot: 1 at (0, 0), falling to 0 on the ellipse with these half axes."""
    inner = np.maximum(1 - (x / width) ** 2 - (y / height) ** 2, 0)
    return inner * inner


def paint(canvas: Field, covered: Field, tone: Number) -> None:
    """Lay a tone over the canvas, in place, as far as it is covered."""
    canvas += covered * (tone - canvas)


def darken(canvas: Field, amount: Field) -> None:
    """Take away a fraction of the light, in place."""
    canvas *= 1 - amount
