"""Where the noise of private training comes from, and in which form a noisy sum may be released.

``SecureNoise`` is for whatever leaves a hospital. Its bits are ChaCha20's keystream (RFC 8439),
under a key that the operating system draws for every call and nobody keeps: there is no seed to
know, and nothing that a forked process could repeat. Box and Muller 1958 make Gaussians of them, in
float64. The sum and its noise are rounded to a grid that depends on the deviation alone: floating
point otherwise tells the sum by which values are possible (Mironov 2012, "On Significance of the
Least Significant Bits for Differential Privacy"; Haney et al. 2022, "Precision-based Attacks and
Interval Refining", arXiv 2207.13793). ``SeededNoise`` can be repeated, so it protects nobody.

What is covered and what is not: docs/adr/0004-noise.md.
"""

import math
import os
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedward.common.errors import ConfigError, ModelError

GRID_BITS = 20  # the grid is finer than the deviation by so many powers of two
LEAST = 2.0**-900  # deviation; below, the grid would leave float64
BLOCK = 2**16  # draws at a time, so that they stay in a processor's cache


class NoiseSource(Protocol):
    """What must be secret in a private step: its noise, and who takes part in it."""

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        """A sum and Gaussian noise of this standard deviation, in a form that may be released.

        Args:
            total: of clipped contributions, any shape, floating point; it is not changed.
            deviation: of the noise on every number.

        Returns:
            A tensor of the total's shape, type and layout.

        Raises:
            ConfigError: the deviation is not a positive, finite number.
            ModelError: the total is not finite.
        """
        ...

    def coins(self, count: int) -> Tensor:
        """Uniform numbers in [0, 1), float64 (count,): a unit takes part where its own is small."""
        ...


class SeededNoise:
    """Noise and coins of torch's generators, for simulation: who knows the seed can subtract it.

    Args:
        noise: randomness of the noise.
        coins: randomness of the coins; None: the same.
    """

    def __init__(self, noise: torch.Generator, coins: torch.Generator | None = None) -> None:
        self._noise = noise
        self._coins = noise if coins is None else coins

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        """As ``NoiseSource``; on no grid."""
        check_deviation(deviation)
        _check_finite(total)
        return total + torch.normal(
            0.0, deviation, total.shape, generator=self._noise, dtype=total.dtype
        )

    def coins(self, count: int) -> Tensor:
        """As ``NoiseSource``."""
        return torch.rand(count, generator=self._coins, dtype=torch.float64)


class SecureNoise:
    """Noise and coins that nobody can repeat.

    It keeps nothing: every call takes a key of its own and forgets it.

    Args:
        entropy: so many bytes that nobody can guess; another than the operating system's is for
            tests.
    """

    def __init__(self, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._entropy = entropy

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        """As ``NoiseSource``; every number is a multiple of ``grid_of(deviation)``.

        The sum is taken and rounded in float64. Casting to fewer bits then rounds the large
        multiples to coarser ones of the same grid, by their own value alone.
        """
        grid = grid_of(deviation)
        order = sorted(range(total.ndim), key=total.stride, reverse=True)
        sums = total.detach().permute(order).contiguous()  # as it lies in memory: no copy
        released = torch.empty_like(sums)
        stream = Keystream(self._entropy(Keystream.KEY))
        parts = zip(sums.view(-1).split(BLOCK), released.view(-1).split(BLOCK), strict=True)
        for part, out in parts:
            drawn = gaussians(stream.words(len(part) + len(part) % 2))
            steps = torch.from_numpy(drawn)[: len(part)].mul_(deviation / grid)
            steps.add_(part, alpha=1 / grid).round_()
            _check_finite(steps)
            out.copy_(steps.mul_(grid))
        return released.permute([order.index(axis) for axis in range(total.ndim)])

    def coins(self, count: int) -> Tensor:
        """As ``NoiseSource``; multiples of 2**-53."""
        words = Keystream(self._entropy(Keystream.KEY)).words(count)
        return torch.from_numpy((words >> np.uint64(11)) * 2.0**-53)


class Keystream:
    """ChaCha20's keystream (RFC 8439), 256 GiB of it.

    Args:
        key: 32 bytes that are used for nothing else.
    """

    KEY = 32

    def __init__(self, key: bytes) -> None:
        # a tenth of a second to import, and simulations do without
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

        self._cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next 64-bit words, (count,)."""
        words = np.empty(count, np.uint64)
        self._cipher.update_into(bytes(8 * count), words.view(np.uint8).data)
        return words


def gaussians(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Independent standard Gaussians from uniform 64-bit words (Box and Muller 1958).

    The first half of the words gives lengths: 63 bits, half a step above zero, so that no logarithm
    is infinite; none exceeds 9.42. The second half gives angles, of 64 bits.

    Args:
        words: (2n,).

    Returns:
        (2n,).
    """
    first, second = words.reshape(2, -1)
    length = (first >> np.uint64(1)) * 2.0**-63
    length += 2.0**-64
    np.log(length, out=length)
    length *= -2
    np.sqrt(length, out=length)
    angle = torch.from_numpy(second.view(np.int64) * (math.pi * 2.0**-63))
    pairs = np.empty((2, len(first)))
    torch.cos(angle, out=torch.from_numpy(pairs[0]))  # three times as fast as numpy's
    torch.sin(angle, out=torch.from_numpy(pairs[1]))
    pairs *= length
    return pairs.reshape(-1)


def grid_of(deviation: float) -> float:
    """The power of two that noisy sums are multiples of: from deviation * 2**-21 to * 2**-20.

    Raises:
        ConfigError: the deviation is not a positive, finite number.
    """
    check_deviation(deviation)
    _, exponent = math.frexp(deviation)
    return math.ldexp(1.0, exponent - 1 - GRID_BITS)


def check_deviation(deviation: float) -> None:
    """Raises ConfigError for what is no noise."""
    if not LEAST <= deviation < math.inf:
        raise ConfigError(
            f"privacy needs noise: a source and a positive deviation, not {deviation}"
        )


def _check_finite(numbers: Tensor) -> None:
    """Raises ModelError. The sum of all numbers shows NaN and infinity in a single pass."""
    if not math.isfinite(float(numbers.sum())):
        raise ModelError("a sum that is not finite cannot be released; check the inputs")
