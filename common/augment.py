"""Random views of faces: flip, shift, rotation and scale in one bilinear sampling.

Every image gets its own draw; a privacy unit stays one image, for one view replaces it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = math.radians(12)
SCALE = 0.12
SHIFT = 4 / 24  # of half the side: four of 48 pixels


def random_views(images: Tensor, *, side: int, generator: torch.Generator) -> Tensor:
    """A random view of every image, sampled at ``side`` pixels.

    Args:
        images: float (n, 1, h, w).
        side: of the views; smaller than the images makes a cheap start of training.
        generator: all randomness.

    Returns:
        float (n, 1, side, side); what a view sees beyond the edge repeats the edge.
    """
    transforms = _transforms(len(images), generator).to(images.dtype)
    grid = F.affine_grid(transforms, [len(images), 1, side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def resized(images: Tensor, side: int) -> Tensor:
    """Images (n, 1, h, w) at (n, 1, side, side), smoothed before they are thinned out."""
    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def _transforms(count: int, generator: torch.Generator) -> Tensor:
    """Affine maps (count, 2, 3) from a view's to its image's coordinates, both from -1 to 1."""
    draws = torch.rand(count, 5, generator=generator)
    mirror = 1 - 2 * draws[:, 0].round()
    angle = (2 * draws[:, 1] - 1) * ROTATION
    scale = 1 + (2 * draws[:, 2] - 1) * SCALE
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack([cosine * mirror, -sine, sine * mirror, cosine], dim=1)
    shift = (2 * draws[:, 3:5] - 1) * SHIFT
    return torch.cat([linear.reshape(count, 2, 2), shift.reshape(count, 2, 1)], dim=2)
