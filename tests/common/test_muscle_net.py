"""The network taught on drawings: what it gives for a face, and the file that it comes in."""

import numpy as np
import torch

from fedward.common.arrays import read_arrays, to_arrays
from fedward.common.muscle_net import (
    CHUNK,
    MAPS,
    MuscleNet,
    muscle_features,
    shipped_net,
    shipped_version,
)
from fedward.common.taught import MUSCLES

FACES = np.random.default_rng(0).integers(0, 256, (CHUNK + 3, 48, 48)).astype(np.uint8)


def test_the_shipped_file_holds_exactly_this_network() -> None:
    arrays = read_arrays(MUSCLES)
    assert {name: array.shape for name, array in arrays.items()} == {
        name: array.shape for name, array in to_arrays(MuscleNet()).items()
    }
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert len(shipped_version()) == 16
    assert not any(p.requires_grad for p in shipped_net().parameters())


def test_features_depend_on_the_image_alone_and_not_on_its_side() -> None:
    net = shipped_net()
    features = muscle_features(net, FACES)
    assert features.shape == (len(FACES), MAPS)
    torch.testing.assert_close(features[5:6], muscle_features(net, FACES[5:6]), atol=1e-4, rtol=0)
    mirrored = muscle_features(net, FACES[:, :, ::-1].copy())
    torch.testing.assert_close(features, mirrored, atol=1e-4, rtol=0)


def test_features_are_centred_maps() -> None:
    net = MuscleNet().eval()
    before = muscle_features(net, FACES[:2])
    net.centre.fill_(0.25)
    torch.testing.assert_close(muscle_features(net, FACES[:2]), before - 0.25)


def test_hostile_faces_give_finite_features() -> None:
    blank = np.stack([np.full((48, 48), v, np.uint8) for v in (0, 7, 255)])
    lone = np.zeros((1, 48, 48), np.uint8)
    lone[0, 3, 3] = 255
    assert torch.isfinite(muscle_features(shipped_net(), np.concatenate([blank, lone]))).all()
    assert muscle_features(shipped_net(), blank[:0]).shape == (0, MAPS)
