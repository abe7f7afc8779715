"""VGG16's features: the published network, mirror images agree, memory is bounded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedward.common.arrays import Arrays, read_arrays, save_arrays
from fedward.common.errors import ConfigError, DataError, ModelError
from fedward.common.vgg_features import (
    CHUNK,
    COUNT,
    Vgg16,
    colours,
    frozen_net,
    vgg16,
    vgg_features,
)
from fedward.common.vgg_weights import SHAPES, digest, read_weights

FACES = np.random.default_rng(1).integers(0, 256, (CHUNK + 2, 48, 48)).astype(np.uint8)


@pytest.fixture(scope="module")
def net(vgg16_file: Path) -> Vgg16:
    return frozen_net(read_weights(vgg16_file))


def by_the_book(arrays: Arrays, images: NDArray[np.uint8]) -> list[Tensor]:
    """Configuration D, layer after layer in double precision: maps after every pooling."""
    maps = torch.from_numpy(images[:, None].repeat(3, 1) / 255)
    for channel, (mean, spread) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        maps[:, channel] = (maps[:, channel] - mean) / spread
    pooled = []
    for block in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        for number in block:
            weight, bias = (
                torch.from_numpy(arrays[f"features.{number}.{kind}"]).double()
                for kind in ("weight", "bias")
            )
            maps = functional.conv2d(maps, weight, bias, padding=1).clamp_min(0)
        maps = functional.max_pool2d(maps, 2, 2)
        pooled.append(maps)
    return pooled


def test_parameters_have_torchvisions_names(net: Vgg16) -> None:
    assert {name: tuple(value.shape) for name, value in net.named_parameters()} == SHAPES
    assert not any(value.requires_grad for value in net.parameters())


def test_maps_are_those_of_the_published_network(net: Vgg16, vgg16_file: Path) -> None:
    third, fourth, fifth = by_the_book(read_arrays(vgg16_file), FACES[:2])[2:]
    with torch.inference_mode():
        found = net(colours(FACES[:2]))
    quarters = third.reshape(2, 256, 3, 2, 3, 2).mean((3, 5))
    for maps, wanted in zip(found, (quarters, fourth, fifth), strict=True):
        assert float(wanted.abs().mean()) > 0.01
        torch.testing.assert_close(maps.double(), wanted, rtol=1e-4, atol=1e-4)


def test_features_have_unit_length_and_mind_neither_mirror_nor_batch(net: Vgg16) -> None:
    features = vgg_features(net, FACES)
    assert (features.shape, features.dtype) == ((len(FACES), COUNT), np.float32)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vgg_features(net, FACES[-1:]), features[-1:], atol=1e-5)
    mirrored = vgg_features(net, FACES[:3, :, ::-1])
    np.testing.assert_allclose(mirrored, features[:3], atol=1e-6)
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_the_three_kinds_of_maps_count_alike(net: Vgg16) -> None:
    features = vgg_features(net, FACES[:3])
    ends = (256 * 9, (256 + 512) * 9)
    for part in np.split(features, ends, axis=1):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 3**-0.5, atol=1e-5)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_blank_images_have_finite_features(net: Vgg16, level: int) -> None:
    features = vgg_features(net, np.full((1, 48, 48), level, np.uint8))
    assert np.isfinite(features).all()
    assert np.linalg.norm(features) <= 1 + 1e-5


def test_a_network_that_sees_nothing_gives_zeros(net: Vgg16) -> None:
    blind = frozen_net({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
    assert not vgg_features(blind, FACES[:1]).any()


def test_no_faces_and_wrong_ones(net: Vgg16) -> None:
    assert vgg_features(net, FACES[:0]).shape == (0, COUNT)
    for wrong in (FACES.astype(np.float32), FACES[:, :40], FACES[0]):
        with pytest.raises(DataError, match="48"):
            vgg_features(net, wrong)  # type: ignore[arg-type]


def test_the_network_sees_one_chunk_at_a_time() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            self.seen.append(len(images))
            sides = ((256, 3), (512, 3), (512, 1))
            return tuple(torch.ones(len(images), c, side, side) for c, side in sides)

    counted = Counted()
    images = np.zeros((3 * CHUNK + 1, 48, 48), np.uint8)
    assert vgg_features(counted, images).shape == (len(images), COUNT)  # type: ignore[arg-type]
    assert counted.seen == [CHUNK, CHUNK] * 3 + [1, 1]


def test_the_kind_is_named_after_the_weights_and_draws_nothing(
    vgg16_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.random.get_rng_state()
    kind = vgg16()
    assert torch.equal(torch.random.get_rng_state(), before)
    arrays = read_arrays(vgg16_weights)
    assert kind.version == f"vgg16-1 {digest(arrays)}"
    assert kind.mark == f"needs_vgg16_weights_{digest(arrays)[:16]}"
    assert (kind.count, kind.bound) == (COUNT, 1.0)
    assert vgg16() is kind

    arrays["features.28.bias"][7] += 1
    other = tmp_path / "other.safetensors"
    save_arrays(other, arrays)
    monkeypatch.setenv("FEDWARD_VGG16", str(other))
    changed = vgg16()
    assert changed.version == f"vgg16-1 {digest(arrays)}"
    assert {changed.version, changed.mark}.isdisjoint({kind.version, kind.mark})
    assert not np.array_equal(changed.extract(FACES[:1]), kind.extract(FACES[:1]))


def test_a_file_that_changes_is_read_again(
    vgg16_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vgg16.safetensors"
    path.write_bytes(vgg16_weights.read_bytes())
    monkeypatch.setenv("FEDWARD_VGG16", str(path))
    assert vgg16().count == COUNT
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        vgg16()
    path.unlink()
    with pytest.raises(ModelError, match="no file is"):
        vgg16()


def test_without_weights_the_kind_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="FEDWARD_VGG16"):
        vgg16()
