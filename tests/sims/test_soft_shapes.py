"""Soft shapes: distances that can be worked out by hand, and what painting them does."""

import numpy as np
import pytest

from fedward.sims.soft_shapes import bump, clamp, cover, darken, ellipse, paint, segment


def points(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_round_ellipse_is_a_circle():
    distance = ellipse(points(3, 3, 0, 6), points(0, 4, 5, 8), 5.0, 5.0)
    assert distance == pytest.approx([-2, 0, 0, 5], abs=1e-4)
    assert ellipse(points(0), points(0), 5.0, 5.0) < 0


def test_an_ellipse_is_exact_on_its_axes():
    distance = ellipse(points(2, 0, 2.5, 0), points(0, 1, 0, 1.5), 2.0, 1.0)
    assert distance == pytest.approx([0, 0, 0.5, 0.5], abs=1e-4)


def test_a_segment_ends_at_its_ends():
    distance = segment(points(2, -3, 7), points(1, 4, 0), points(4), points(0))
    assert distance == pytest.approx([1, 5, 3])


def test_cover_goes_from_one_inside_to_zero_outside():
    assert cover(points(-1, 0, 1)).tolist() == [1, 0.5, 0]


def test_a_bump_is_one_in_the_middle_and_ends_at_its_radii():
    assert bump(points(0, 2, 3), points(0, 0, 3), 2.0, 1.0).tolist() == [1, 0, 0]


def test_painting_and_darkening_happen_in_place_and_stay_single_precision():
    canvas = points(0.5, 0.5, 0.5)
    paint(canvas, points(0, 0.5, 1), 1.0)
    assert canvas.tolist() == [0.5, 0.75, 1.0]
    darken(canvas, points(1, 0, 0.5))
    assert canvas.tolist() == [0, 0.75, 0.5]
    assert canvas.dtype == np.float32
    for shape in (ellipse(canvas, canvas, 1.0, 2.0), cover(canvas), bump(canvas, canvas, 1.0, 1.0)):
        assert shape.dtype == np.float32


def test_clamp():
    assert clamp(points(-2, 0.25, 3)).tolist() == [0, 0.25, 1]
