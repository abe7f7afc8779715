"""Fixed features of a face: second-order Gabor scattering and signed HOG; mirror images agree.

Nothing here is learned or fitted, so the features cost no privacy; what is learned on them is a
linear head (common/linear.py).

Sources: Bruna & Mallat 2013, "Invariant Scattering Convolution Networks" (cascade of modulus and
smoothing, second order divided by first); Dalal & Triggs 2005 (HOG); Tramer & Boneh 2021,
"Differentially Private Learning Needs Better Features" (linear models on scattering under privacy).

Shapes: n images, c channels (orientations or pairs of them), maps of side x side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fedward.common.faces import SIDE
from fedward.common.features import FeatureKind, check_images

VERSION = "scattering-2"  # raise it whenever a feature changes
# About 1.3 times the median norm over drawn faces (sims/synthetic.py), so public.
BOUND = 70.0
ORIENTATIONS = 8
HOG_BINS = 12
CHUNK = 16  # images at a time: their largest maps fit a core's own cache
WINDOW = 0.7  # standard deviation of the spatial weight, in half sides of the image


@dataclass(frozen=True)
class Block:
    """One kind of feature: maps of ``side`` x ``side`` cells, of which the left half is kept.

    Centre and gain bring all blocks to about zero mean and unit spread, HOG to 0.6. They were read
    off drawn faces (sims/synthetic.py) once, not off patients; the window and HOG's part were
    chosen on a validation part of FER-2013's Training split.
    """

    channels: int
    side: int
    centre: float
    gain: float


BLOCKS = (
    Block(1, 6, 0.0, 4.1),  # order 0
    Block(ORIENTATIONS, 6, 0.74, 3.9),  # order 1: wavelength of 11 pixels,
    Block(ORIENTATIONS, 12, 0.72, 4.2),  # of 3,
    Block(ORIENTATIONS, 12, 0.66, 4.0),  # of 6
    Block(ORIENTATIONS**2, 6, 0.19, 16.3),  # order 2: waves of 6 pixels in the envelope of 3,
    Block(ORIENTATIONS**2, 6, 0.19, 12.2),  # of 11 in 3,
    Block(ORIENTATIONS**2, 6, 0.21, 12.9),  # of 11 in 6
    Block(HOG_BINS, 12, 0.14, 5.6),  # cells of 4 pixels,
    Block(HOG_BINS, 8, 0.16, 5.8),  # of 6,
    Block(HOG_BINS, 6, 0.17, 6.0),  # of 8
)
COARSE, FINE = 6, 12  # sides of the scattering maps
FEATURES = sum(block.channels * block.side * block.side // 2 for block in BLOCKS)


def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of images, uint8 (n, 48, 48) -> float32 (n, FEATURES); mirror images agree.

    Memory beyond the result is bounded (one chunk of images). Values depend on the image alone,
    up to float32 rounding.

    Raises:
        DataError: the images have another shape or type.
    """
    check_images(images)
    features = np.empty((len(images), FEATURES), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), CHUNK):
            pixels = standardised(images[start : start + CHUNK])
            blocks = [*_scattering(pixels), *_hog(pixels)]
            halves = torch.cat([_left_half(b).flatten(1) for b in blocks], 1)
            features[start : start + CHUNK] = ((halves - _CENTRE) * _GAIN).numpy()
    return features


def standardised(images: NDArray[np.uint8]) -> Tensor:
    """Per-image zero mean and unit spread (floor 8 grey levels), clipped to +-3; (n, 1, 48, 48)."""
    pixels = torch.from_numpy(images.astype(np.float32))[:, None]
    spread, mean = torch.std_mean(pixels, (1, 2, 3), keepdim=True)
    return ((pixels - mean) / spread.clamp_min(8.0)).clamp(-3.0, 3.0)


def _gabor_bank(size: int = 7, width: float = 1.3, frequency: float = 2.2) -> Tensor:
    """Zero-mean complex Gabor filters of unit norm, (2 * ORIENTATIONS, 1, size, size)."""
    line = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    filters = []
    for k in range(ORIENTATIONS):
        angle = math.pi * k / ORIENTATIONS
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        envelope = torch.exp(-(along**2 + (0.6 * across) ** 2) / (2 * width**2))
        real = envelope * torch.cos(frequency * along)
        real = real - envelope * (real.sum() / envelope.sum())
        imaginary = envelope * torch.sin(frequency * along)
        norm = (real**2 + imaginary**2).sum().sqrt()
        filters += [real / norm, imaginary / norm]
    return torch.stack(filters)[:, None].float()


def _window_means(side: int, stride: int, taps: list[float]) -> Tensor:
    """A matrix (side / stride, side): even windows along a line, reflected at its ends.

    Centred on the cells, they keep mirror symmetry exactly, where odd ones would not.
    """
    matrix = torch.zeros(side // stride, side)
    for row in range(side // stride):
        first = row * stride + stride // 2 - len(taps) // 2
        for offset, tap in enumerate(taps):
            column = abs(first + offset)
            matrix[row, min(column, 2 * (side - 1) - column)] += tap / sum(taps)
    return matrix


def _spatial_weights(side: int) -> Tensor:
    """A Gaussian about the face's middle, over the left half of a map, (side, side / 2)."""
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    distance = line[:, None] ** 2 + line[None, : side // 2] ** 2
    return torch.exp(-distance / (2 * WINDOW**2))


def _per_feature() -> tuple[Tensor, Tensor]:
    """Centre and gain of every feature, (FEATURES,) each, in the order of BLOCKS."""
    centres, gains = [], []
    for block in BLOCKS:
        gain = block.gain * _spatial_weights(block.side).expand(block.channels, -1, -1)
        gains.append(gain.flatten())
        centres.append(torch.full((gain.numel(),), block.centre))
    return torch.cat(centres), torch.cat(gains)


_CENTRE, _GAIN = _per_feature()
_GABOR = _gabor_bank()
_HALVING = {side: _window_means(side, 2, [1, 5, 10, 10, 5, 1]) for side in (SIDE, SIDE // 2)}
_POOLING = {
    (side, cell): _window_means(side, cell, [1.0] * (2 * cell))
    for side, cell in [(48, 4), (48, 6), (48, 8), (24, 2), (24, 4), (12, 2)]
}


def _separable(maps: Tensor, matrix: Tensor) -> Tensor:
    """The same linear map on rows and columns of (n, c, s, s)."""
    return matrix @ (maps @ matrix.T)


def _halve(maps: Tensor) -> Tensor:
    """Low-pass and keep every second row and column, (n, c, s, s) -> (n, c, s/2, s/2)."""
    return _separable(maps, _HALVING[maps.shape[-1]])


def _modulus(maps: Tensor) -> Tensor:
    """Gabor modulus of every map, (n, c, s, s) -> (n, c * ORIENTATIONS, s, s)."""
    n, c, side, _ = maps.shape
    padded = functional.pad(maps.reshape(n * c, 1, side, side), (3, 3, 3, 3), mode="reflect")
    waves = functional.conv2d(padded, _GABOR).reshape(n, c * ORIENTATIONS, 2, side, side)
    return waves.square_().sum(2).add_(1e-8).sqrt_()


def _pool(maps: Tensor, side: int) -> Tensor:
    """Average over windows of twice the cell, so that neighbours overlap; (n, c, side, side)."""
    cell = maps.shape[-1] // side
    return maps if cell == 1 else _separable(maps, _POOLING[maps.shape[-1], cell])


def _neighbourhood(energy: Tensor) -> Tensor:
    """Mean over 3x3 cells of (n, 1, s, s), the border repeated."""
    return functional.avg_pool2d(functional.pad(energy, (1,) * 4, mode="replicate"), 3, 1)


def _scattering(pixels: Tensor) -> Iterator[Tensor]:
    """Orders 0, 1 and 2, every block (n, c, side, side)."""
    pyramid = [pixels, _halve(pixels)]
    pyramid.append(_halve(pyramid[1]))
    first = [_modulus(level) for level in pyramid]
    yield _pool(pyramid[2], COARSE) * 0.5
    yield functional.avg_pool2d(_normalised(first[2]), FINE // COARSE)
    for maps in first[:2]:
        yield _normalised(_pool(maps, FINE))
    smooth = _halve(first[0])
    for maps in (smooth, _halve(smooth), _halve(first[1])):
        mass = _pool(maps, COARSE).repeat_interleave(ORIENTATIONS, 1)
        yield _pool(_modulus(maps), COARSE) / (mass + 0.15)


def _normalised(maps: Tensor) -> Tensor:
    """Divided by the energy over orientations and neighbours (Pinto et al. 2008)."""
    return maps / (_neighbourhood(maps.square().mean(1, keepdim=True)) + 0.02).sqrt()


def _hog(pixels: Tensor) -> Iterator[Tensor]:
    """Histograms of signed gradient directions at three cell sizes, (n, HOG_BINS, s, s) each."""
    dx = functional.pad(pixels[..., 2:] - pixels[..., :-2], (1, 1, 0, 0))
    dy = functional.pad(pixels[..., 2:, :] - pixels[..., :-2, :], (0, 0, 1, 1))
    position = torch.atan2(dy, dx) * (HOG_BINS / (2 * math.pi))
    bins = torch.arange(HOG_BINS, dtype=torch.float32).view(1, HOG_BINS, 1, 1)
    distance = (position % HOG_BINS - bins).abs_()
    distance = torch.minimum(distance, HOG_BINS - distance)
    votes = (1 - distance).clamp_min_(0) * (dx.square() + dy.square()).sqrt()
    for side in (12, 8, 6):
        maps = _pool(votes, side)
        energy = _neighbourhood(maps.square().sum(1, keepdim=True))
        yield (maps / (energy + 0.02).sqrt()).clamp_max(0.6)


def _mirrored_channels(channels: int) -> list[int]:
    """Which channel a mirror image shows in place of each: direction a becomes pi - a."""
    turned = [(ORIENTATIONS - k) % ORIENTATIONS for k in range(ORIENTATIONS)]
    if channels == HOG_BINS:
        return [(HOG_BINS // 2 - k) % HOG_BINS for k in range(HOG_BINS)]
    if channels == ORIENTATIONS**2:
        return [a * ORIENTATIONS + b for a in turned for b in turned]
    return turned if channels == ORIENTATIONS else [0]


def _left_half(maps: Tensor) -> Tensor:
    """Mean of the maps and their mirror image; the right half repeats it and is dropped."""
    both = (maps + maps[:, _mirrored_channels(maps.shape[1])].flip(3)) / 2
    return both[..., : maps.shape[3] // 2]


SCATTERING = FeatureKind(VERSION, FEATURES, BOUND, extract)
