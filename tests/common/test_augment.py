import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.common import augment
from fedward.common.augment import random_views, resized


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_rotation_scale_and_shift_a_view_is_the_image_or_its_mirror_image(monkeypatch):
    for name in ("ROTATION", "SCALE", "SHIFT"):
        monkeypatch.setattr(augment, name, 0.0)
    images = torch.rand(40, 1, 6, 6, generator=generator())
    views = random_views(images, side=6, generator=generator(1))
    kept = torch.isclose(views, images, atol=1e-5).flatten(1).all(1)
    mirrored = torch.isclose(views, images.flip(3), atol=1e-5).flatten(1).all(1)
    assert bool((kept ^ mirrored).all())
    assert 8 < int(kept.sum()) < 32


def test_a_shift_moves_at_most_four_of_48_pixels(monkeypatch):
    for name in ("ROTATION", "SCALE"):
        monkeypatch.setattr(augment, name, 0.0)
    column = torch.zeros(60, 1, 48, 48)
    column[..., 24] = 1
    views = random_views(column, side=48, generator=generator())
    found = views[:, 0, 24].argmax(1)
    assert int(found.min()) in (19, 20, 21)
    assert int(found.max()) in (27, 28)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), side=st.sampled_from([36, 48]))
def test_views_stay_within_the_image_s_grey_levels_and_repeat_with_the_generator(seed, side):
    images = torch.rand(3, 1, 48, 48, generator=generator(seed)) * 6 - 3
    views = random_views(images, side=side, generator=generator(seed))
    assert views.shape == (3, 1, side, side)
    lowest, highest = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    assert bool((views.amin((1, 2, 3)) >= lowest - 1e-4).all())
    assert bool((views.amax((1, 2, 3)) <= highest + 1e-4).all())
    assert torch.equal(views, random_views(images, side=side, generator=generator(seed)))


def test_a_view_of_one_image_does_not_depend_on_the_others():
    images = torch.rand(2, 1, 48, 48, generator=generator())
    both = random_views(images, side=48, generator=generator(5))
    images[1] = 0
    assert torch.equal(random_views(images, side=48, generator=generator(5))[0], both[0])


@pytest.mark.parametrize("side", [24, 36, 48])
def test_resizing_keeps_a_constant_image_constant(side):
    images = torch.full((2, 1, 48, 48), 1.5)
    np.testing.assert_allclose(resized(images, side), np.full((2, 1, side, side), 1.5), rtol=1e-6)
