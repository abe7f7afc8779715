"""The convolutional head on scattering: which cell goes where."""

import torch
from torch import nn

from fedward.common.models import build, network_inputs, predict
from fedward.common.scatter_cnn import ScatterCnn, blocks_of
from fedward.common.scattering import BLOCKS, FEATURES
from fedward.sims.synthetic import synthetic_faces

COUNTED = torch.arange(2.0 * FEATURES).view(2, FEATURES)


def test_blocks_are_the_features_in_their_order() -> None:
    blocks = blocks_of(COUNTED)
    assert [block for block, _ in blocks] == list(BLOCKS)
    assert all(maps.shape[1:] == (b.channels, b.side, b.side // 2) for b, maps in blocks)
    assert torch.equal(torch.cat([maps.flatten(1) for _, maps in blocks], 1), COUNTED)


def test_all_cells_but_those_of_8x8_are_seen() -> None:
    features = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(0))
    model = ScatterCnn().eval()
    features.requires_grad_()
    (seen,) = torch.autograd.grad(model(features).square().sum(), features)
    for block, gradients in blocks_of(seen):
        assert bool(gradients.any()) == (block.side != 8)
        assert bool((gradients != 0).all()) == (block.side != 8)


def test_it_is_of_the_stated_size_and_holds_no_statistics_over_a_batch() -> None:
    model = build("scatter-cnn", seed=0).double().eval()
    assert sum(p.numel() for p in model.parameters()) == 193_863
    assert not list(model.buffers())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    rows = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(model(rows)[:1], model(rows[:1]), rtol=1e-9, atol=1e-9)
    assert model(rows[:0]).shape == (0, 7)


def test_mirror_images_are_answered_alike() -> None:
    faces = synthetic_faces(patients=8, images_per_patient=1, seed=0).training.images
    model = build("scatter-cnn", seed=0)
    answers = [
        predict("scatter-cnn", model, network_inputs("scatter-cnn", shown, cache=None))
        for shown in (faces, faces[:, :, ::-1].copy())
    ]
    torch.testing.assert_close(*map(torch.from_numpy, answers), rtol=0, atol=1e-4)
