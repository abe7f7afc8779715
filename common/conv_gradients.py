"""Gradients of a convolution for every unit apart: their norms, and weighted sums of them.

A convolution is a linear layer at every position of the output, on the patch that it sees. Four
ways, of which ``cheapest`` takes one:

PIXELS    norms by Gram matrices (common/gram.py) of patches, which are sums of shifted pieces of
          the Gram matrix of pixels: deep layers, few positions and many kernel weights
PATCHES   the same from patches themselves: with strides, where most pixel pairs are never needed
FORM      every unit's gradient is formed, by a matrix product on its patches: early layers,
          many positions and few weights
SINGLY    the same by the library's own convolution, unit after unit: where patches are too large
          for the processor's cache

Forming costs what the gradient of the whole batch costs, and takes its place.

Legend: n: rows; u: units; c, o: channels in and out; t: positions of a unit (all its rows); d:
weights of a kernel, in the order kernel height, kernel width, c.
"""

from collections.abc import Callable, Iterator
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from fedward.common import kernels
from fedward.common.conv_use import Use
from fedward.common.gram import MEMORY, SUMMING, squared_norms_of

BUFFER = 2**19  # numbers in a buffer of patches: 2 MB, some units at a time, near the processor
CHUNK = 2**18  # numbers of pixel Gram matrices at a time

Way = Enum("Way", "PIXELS PATCHES FORM SINGLY")
WeightedSum = Callable[[Tensor], Tensor]  # numbers (u,) to the weighted sum of formed gradients


def cheapest(use: Use) -> Way:
    """The way that costs least, by a count in multiplications of a matrix product.

    Numbers that are moved through memory weigh MEMORY of them, those that are copied within the
    cache eight, the library's convolution three quarters, and a call of it two million.
    """
    t, d, o = use.positions, use.weights, len(use.kernel)
    (up, along), (_, c, height, width) = use.geometry.padding, use.x.shape
    pixels = (height + 2 * up) * (width + 2 * along) * use.unit_size
    product, again, norms = t * d * o, 0.75 * t * d * o, t * t * o
    gather = t * d * use.geometry.groups * (8 if t * d <= BUFFER // 2 else MEMORY)
    costs = {
        Way.FORM: product + gather + MEMORY * d * o,
        Way.SINGLY: again + 2e6 + MEMORY * d * o,
    }
    if use.geometry.groups == 1:
        shifted = t * t * (d // c) * (4 if use.geometry.stride[1] == 1 else 16)
        costs[Way.PIXELS] = pixels * pixels * c + shifted + norms + again
        costs[Way.PATCHES] = t * t * d + gather + norms + again
    return min(costs, key=lambda way: costs[way])


def norms_by_gram(use: Use, *, by_pixels: bool, constant: float) -> Tensor:
    """Squared norms (u,), never below the true ones; ``constant`` is 1 where there is a bias.

    Raises:
        CancelledError: in float64 alone.
    """
    outputs = use.outputs()
    sums = use.patch_sums() if use.geometry.centred else None
    parts = []
    for start, gram in _grams_of_pixels(use) if by_pixels else _grams_of_patches(use):
        part = slice(start, start + len(gram))
        own = None if sums is None else sums[part]
        of = outputs[part]
        parts.append(squared_norms_of(gram, of, terms=use.weights, constant=constant, sums=own))
    return torch.cat(parts)


def form_patchwise(use: Use, memory: Tensor | None = None) -> tuple[Tensor, WeightedSum]:
    """Squared norms (u,), and how to sum the gradients that were formed.

    They are formed in the flat ``memory`` (at least u o d numbers) if it is given.
    """
    groups, outputs = use.geometry.groups, use.outputs()
    if memory is None:
        memory = use.x.new_empty(use.formed)
    formed = memory[: use.formed].view(use.units, len(use.kernel), use.weights)
    norms = use.x.new_empty(use.units)
    for start, patches in _patches(use):
        own = slice(start, start + len(patches))
        if groups == 1:
            torch.bmm(outputs[own].transpose(1, 2), patches, out=formed[own])
        else:
            formed[own] = _by_group(outputs[own], patches, groups, use.x.shape[1])
        _centre_to_check(use, formed[own], 2)
        norms[own] = _squared(formed[own])
    _, channels, height, width = use.kernel.shape

    def summed(weights: Tensor) -> Tensor:
        rows = formed.flatten(1)
        if not weights.all():  # a weight of zero is for what is not finite
            rows, weights = rows[weights != 0], weights[weights != 0]
        return (weights @ rows).view(-1, height, width, channels).permute(0, 3, 1, 2)

    return _centred_norms(use, norms, formed.sum(2)), summed


def form_singly(use: Use) -> tuple[Tensor, WeightedSum]:
    """As ``form_patchwise``."""
    formed = [
        use.geometry.backward(g, x, use.kernel, of_input=False)
        for x, g in zip(use.x.split(use.unit_size), use.g.split(use.unit_size), strict=True)
    ]
    for unit in formed:
        _centre_to_check(use, unit, (1, 2, 3))
    norms = torch.cat([_squared(unit.flatten(1).unsqueeze(0)) for unit in formed])

    def summed(weights: Tensor) -> Tensor:
        total = torch.zeros_like(formed[0])
        for weight, unit in zip(weights.tolist(), formed, strict=True):
            if weight:  # a weight of zero is for what is not finite
                total.add_(unit, alpha=weight)
        return total

    sums = torch.stack([unit.sum((1, 2, 3)) for unit in formed])
    return _centred_norms(use, norms, sums), summed


def _squared(formed: Tensor) -> Tensor:
    """Squared norms (u,) of gradients (u, o, d). Kernel by kernel: torch adds up one after the
    other, so that a norm of millions of numbers would be a thousandth too short."""
    of_kernels: Tensor = torch.linalg.vector_norm(formed, dim=2)
    return of_kernels.square_().sum(1)


def _centre_to_check(use: Use, formed: Tensor, weights: int | tuple[int, ...]) -> None:
    """In float64, take every kernel's mean off a formed gradient, over these dimensions, so that no
    bound of rounding is seen in its norm; in float32 ``_centred_norms`` is faster."""
    if use.geometry.centred and formed.dtype is torch.float64:
        formed -= formed.mean(weights, keepdim=True)


def _centred_norms(use: Use, squared: Tensor, sums: Tensor) -> Tensor:
    """From squared norms (u,) of gradients to those of the same minus every kernel's mean;
    ``sums`` (u, o) are the kernels' sums."""
    if not use.geometry.centred or squared.dtype is torch.float64:
        return squared
    less = squared - sums.square().sum(1) / use.weights
    slack = (use.weights + SUMMING) * torch.finfo(squared.dtype).eps / 2
    return less.clamp_min(0) + slack * squared


def _by_group(outputs: Tensor, patches: Tensor, groups: int, channels: int) -> Tensor:
    """Gradients (u, o, d) of a grouped kernel."""
    u, t, o = outputs.shape
    own = patches.view(u, t, -1, groups, channels // groups).permute(0, 3, 1, 2, 4)
    of_group = outputs.reshape(u, t, groups, -1).permute(0, 2, 3, 1)
    formed = torch.bmm(of_group.reshape(u * groups, -1, t), own.reshape(u * groups, t, -1))
    return formed.view(u, o, -1)


def _grams_of_patches(use: Use) -> Iterator[tuple[int, Tensor]]:
    for start, patches in _patches(use):
        yield start, torch.bmm(patches, patches.transpose(1, 2))


def _patches(use: Use) -> Iterator[tuple[int, Tensor]]:
    """Some units at a time: the first's number, and patches (u, t, d x groups), which are
    overwritten when the next are asked for."""
    numbers = use.positions * use.weights * use.geometry.groups
    step = max(1, BUFFER // numbers)
    buffer = use.x.new_empty(min(step, use.units), use.positions, numbers // use.positions)
    maps = use.x.permute(0, 2, 3, 1).contiguous()
    for start in range(0, use.units, step):
        own = maps[start * use.unit_size : (start + step) * use.unit_size]
        patches = buffer[: len(own) // use.unit_size]
        _gather(use, own, patches)
        yield start, patches


def _gather(use: Use, maps: Tensor, patches: Tensor) -> None:
    """Write the patches of maps (n, h, w, c) into (u, t, d x groups)."""
    geometry, kernel, sides = use.geometry, use.kernel.shape[2:], use.g.shape[2:]
    if kernels.compiled_for(maps):
        kernels.gather_patches(
            maps.flatten(2).numpy(),
            patches.view(len(maps), *sides, -1).numpy(),
            maps.shape[3],
            *kernel,
            *geometry.stride,
            *geometry.padding,
            *geometry.dilation,
        )
        return
    stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
    seen = F.unfold(maps.permute(0, 3, 1, 2), (kernel[0], kernel[1]), dilation, padding, stride)
    seen = seen.view(len(maps), maps.shape[3], *kernel, *sides).permute(0, 4, 5, 2, 3, 1)
    patches.copy_(seen.reshape(patches.shape))


def _grams_of_pixels(use: Use) -> Iterator[tuple[int, Tensor]]:
    """Some units at a time: the first's number, and Gram matrices (u, t, t) of patches."""
    up, along = use.geometry.padding
    padded = F.pad(use.x, (along, along, up, up)).permute(0, 2, 3, 1)
    sides = (use.unit_size, *padded.shape[1:3])
    pixels = padded.reshape(use.units, -1, padded.shape[3])
    step = max(1, CHUNK // pixels.shape[1] ** 2)
    for start in range(0, use.units, step):
        own = pixels[start : start + step]
        gram = torch.bmm(own, own.transpose(1, 2)).view(len(own), *sides, *sides)
        yield start, _shifted(use, gram)


def _shifted(use: Use, pixels: Tensor) -> Tensor:
    """Gram matrices of patches (u, t, t) from those of padded pixels (u, k, h, w, k, h, w)."""
    geometry, (tall, wide), (height, width) = use.geometry, use.kernel.shape[2:], use.g.shape[2:]
    k = use.unit_size
    patches = pixels.new_zeros(len(pixels), k, height, width, k, height, width)
    if kernels.compiled_for(pixels):
        shape = (tall, wide, *geometry.stride, *geometry.dilation)
        kernels.patch_gram(pixels.numpy(), patches.numpy(), *shape)
    else:
        (down, right), (below, beside) = geometry.stride, geometry.dilation
        for i in range(tall):
            for j in range(wide):
                y = slice(i * below, i * below + (height - 1) * down + 1, down)
                x = slice(j * beside, j * beside + (width - 1) * right + 1, right)
                patches += pixels[:, :, y, x, :, y, x]
    return patches.view(len(pixels), use.positions, use.positions)
