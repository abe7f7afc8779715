"""The fixed features: shape, mirror symmetry, independence of neighbours, what they respond to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedward.common import scattering
from fedward.common.errors import DataError
from fedward.common.scattering import FEATURES, extract


def some_images(seed: int, count: int) -> NDArray[np.uint8]:
    """Noise, shaded, dark, saturated and constant images in turn."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (count, 48, 48))
    shade = np.broadcast_to(np.arange(48) * 5, (48, 48))
    kinds = [noise, noise // 8 + shade, noise // 64, 255 * (noise > 128), np.full_like(noise, 77)]
    return np.stack([kinds[i % 5][i] for i in range(count)]).astype(np.uint8)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_mirror_image_has_the_same_features(seed: int) -> None:
    images = some_images(seed, 5)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    assert np.abs(extract(images) - extract(mirrored)).max() <= 1e-5


def test_shape_type_and_range() -> None:
    features = extract(some_images(1, 20))
    assert features.shape == (20, FEATURES)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_no_image_gives_no_row() -> None:
    assert extract(np.empty((0, 48, 48), np.uint8)).shape == (0, FEATURES)


def test_an_image_is_independent_of_its_neighbours_and_of_chunks() -> None:
    images = some_images(2, 2 * scattering.CHUNK + 3)
    together = extract(images)
    alone = np.concatenate([extract(images[i : i + 1]) for i in range(len(images))])
    assert np.abs(together - alone).max() <= 1e-5
    assert np.array_equal(together, extract(images))


def test_brightness_and_contrast_do_not_matter() -> None:
    image = some_images(3, 2)[1:2] // 2
    brighter = image + 100
    assert np.abs(extract(image) - extract(brighter)).max() <= 1e-4


def test_a_blank_image_has_neither_edges_nor_waves() -> None:
    pixels = scattering.standardised(np.full((1, 48, 48), 9, np.uint8))
    blocks = [*scattering._scattering(pixels), *scattering._hog(pixels)]
    assert max(float(block.abs().max()) for block in blocks) < 0.1
    assert [tuple(block.shape[1:]) for block in blocks] == [
        (block.channels, block.side, block.side) for block in scattering.BLOCKS
    ]


def test_the_middle_of_the_face_weighs_more_than_its_corner() -> None:
    weights = scattering._spatial_weights(12)
    assert weights.shape == (12, 6)
    assert torch.allclose(weights, weights.flip(0))
    assert float(weights.max()) == pytest.approx(float(weights[5, 5]))
    assert float(weights.min()) == pytest.approx(float(weights[0, 0]))


def test_stripes_excite_the_filters_across_them() -> None:
    """Vertical stripes vary along x: orientation 0 of the finest order 1 responds the most."""
    stripes = np.broadcast_to(128 + 100 * np.cos(2.2 * np.arange(48)), (1, 48, 48))
    pixels = scattering.standardised(stripes.astype(np.uint8))
    energy = scattering._modulus(pixels)[0].mean((1, 2))
    assert int(energy.argmax()) == 0
    assert float(energy[0]) > 5 * float(energy[4])


def test_the_gabor_bank_ignores_flat_areas() -> None:
    bank = scattering._gabor_bank().double()
    assert float(bank.sum((1, 2, 3)).abs().max()) < 1e-6
    assert bank.square().sum((1, 2, 3)).reshape(-1, 2).sum(1).numpy() == pytest.approx(1)


def test_read_only_and_mirrored_views_are_fine() -> None:
    images = some_images(4, 3)
    expected = extract(images)
    view = np.ascontiguousarray(images[:, :, ::-1])[:, :, ::-1]
    images.setflags(write=False)
    assert np.array_equal(extract(images), expected)
    assert np.array_equal(extract(view), expected)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 64, 64), np.uint8),
        np.zeros((2, 48, 48), np.float32),
        np.zeros((48, 48), np.uint8),
    ],
)
def test_other_images_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(DataError, match="48"):
        extract(images)
