"""Random features: a transform worked out by hand, the kernel that they stand for, fixed signs."""

import math

import pytest
import torch

from fedward.common.random_features import LEAK, ROUNDS, _signs, hadamard, random_features

PINNED = [
    [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, 1.0, -1.0],
    [-1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
    [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
]


def test_hadamard_on_numbers_worked_out_by_hand() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    # sums and differences: (1+2+3+4, 1-2+3-4, 1+2-3-4, 1-2-3+4) / 2
    assert hadamard(rows).tolist() == [[5.0, -1.0, -2.0, 0.0]]


def test_hadamard_keeps_lengths_and_is_its_own_inverse() -> None:
    rows = torch.randn(3, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(hadamard(rows).norm(dim=1), rows.norm(dim=1))
    torch.testing.assert_close(hadamard(hadamard(rows)), rows)


def test_products_are_the_kernel_of_a_leaky_relu() -> None:
    g = torch.Generator().manual_seed(3)
    x = torch.nn.functional.normalize(torch.randn(12, 1000, generator=g), dim=1)
    x = torch.cat([x, torch.nn.functional.normalize(x + 0.02 * torch.randn(12, 1000, generator=g))])
    features = random_features(x, 1024)
    angle = torch.arccos((x @ x.T).clamp(-1, 1))
    # f(t) = LEAK t + (1 - LEAK) relu(t); E relu(u) relu(v) is Cho & Saul's (2009) of degree 1
    relu = (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
    linear, mixed = angle.cos(), angle.cos() / 2
    kernel = LEAK**2 * linear + 2 * LEAK * (1 - LEAK) * mixed + (1 - LEAK) ** 2 * relu
    kernel /= (1 + LEAK**2) / 2  # its value at angle zero
    assert float((features @ features.T - kernel).abs().max()) < 0.12


def test_features_have_unit_length_and_nothing_gives_nothing() -> None:
    rows = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    rows[2] = 0
    lengths = random_features(rows, 16).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert random_features(torch.zeros(0, 10), 8).shape == (0, 8)


def test_signs_are_the_same_for_ever_and_differ_between_rounds() -> None:
    signs = _signs(8)
    assert signs.shape == (ROUNDS, 8)
    assert signs.tolist() == PINNED
    assert float(_signs(4096).mean().abs()) < 0.03


def test_more_features_than_the_transform_has_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 16"):
        random_features(torch.zeros(1, 10), 17)
