"""Random features that make a linear model a kernel machine, by fast Walsh-Hadamard transforms.

A linear model on ``f(W x)`` with a wide Gaussian W is a kernel machine (Rahimi & Recht 2007; for
the relu Cho & Saul 2009, "Kernel Methods for Deep Learning"). Here f is a leaky relu: half way to
the linear kernel, which bears more noise (docs/recipes.md has what that is worth). W is replaced by
three rounds of random signs and an orthogonal transform (Yu et al. 2016, "Orthogonal Random
Features"), which needs no matrix: a device holds three sign vectors. The signs are fixed, public
numbers.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDS = 3
LEAK = 0.5  # slope below zero


def random_features(rows: Tensor, count: int) -> Tensor:
    """Leaky relu of random projections, float32 (n, d) -> (n, count), of unit length.

    A row of zeros stays zero. ``count`` is at most the power of two at or above d.

    Raises:
        ValueError: more features are asked for.
    """
    d = rows.shape[1]
    width = 1 << (d - 1).bit_length()
    if count > width:
        raise ValueError(f"{d} inputs give at most {width} random features, not {count}")
    mixed = F.pad(rows, (0, width - d))
    for signs in _signs(width):
        mixed = hadamard(mixed * signs)
    return F.normalize(F.leaky_relu(mixed[:, :count], LEAK), dim=1)


def hadamard(rows: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform of every row, (n, d) with d a power of two."""
    n, d = rows.shape
    half = 1
    while half < d:
        pairs = rows.view(n, d // (2 * half), 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        rows = torch.stack((first + second, first - second), dim=2).view(n, d)
        half *= 2
    return rows / math.sqrt(d)


def _signs(width: int) -> Tensor:
    """ROUNDS vectors of +-1, the same on every machine and in every version of numpy."""
    bits = np.random.Philox(key=width).random_raw(ROUNDS * width) & np.uint64(1)
    return torch.from_numpy(1.0 - 2.0 * bits.astype(np.float32)).view(ROUNDS, width)
