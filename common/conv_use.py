"""A convolution seen from its backward pass: how it moves, what went in, what came back.

Legend: n: rows; u: units; c, o: channels in and out; t: positions of a unit (all its rows); d:
weights of a kernel, in the order kernel height, kernel width, c.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over its input; pairs are (height, width)."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    centred: bool

    def backward(self, g: Tensor, x: Tensor, kernel: Tensor, *, of_input: bool) -> Tensor:
        """Gradient of the input, or else of the kernel, summed over rows."""
        mask = [of_input, not of_input, False]
        stride, padding, dilation = list(self.stride), list(self.padding), list(self.dilation)
        gradients = aten.convolution_backward(
            g, x, kernel, None, stride, padding, dilation, False, [0, 0], self.groups, mask
        )
        gradient: Tensor = gradients[0 if of_input else 1]
        return gradient


def centre(kernel: Tensor) -> Tensor:
    """Kernels (o, c, h, w) minus the mean of each; also how a gradient goes back through that."""
    return kernel - kernel.mean(dim=(1, 2, 3), keepdim=True)


@dataclass(frozen=True)
class Use:
    """One use of a convolution, seen from its backward pass.

    Attributes:
        x: inputs (n, c, h, w).
        g: gradients of the outputs (n, o, h', w').
        kernel: (o, c / groups, kernel height, kernel width), centred where the geometry says so.
        geometry: how it moves.
        unit_size: consecutive rows that are one unit.
    """

    x: Tensor
    g: Tensor
    kernel: Tensor
    geometry: Geometry
    unit_size: int

    @property
    def units(self) -> int:
        """How many."""
        return len(self.x) // self.unit_size

    @property
    def positions(self) -> int:
        """Of a unit, t."""
        return self.g.shape[2] * self.g.shape[3] * self.unit_size

    @property
    def weights(self) -> int:
        """Of one kernel, d."""
        return self.kernel[0].numel()

    @property
    def formed(self) -> int:
        """Numbers in the gradients of all units."""
        return self.units * self.kernel.numel()

    def outputs(self) -> Tensor:
        """``g`` as (u, t, o); without a copy in channels_last."""
        return self.g.permute(0, 2, 3, 1).reshape(self.units, self.positions, self.g.shape[1])

    def patch_sums(self) -> Tensor:
        """Sum of every patch, (u, t), without looking at patches."""
        ones = self.x.new_ones(1, 1, *self.kernel.shape[2:])
        geometry, total = self.geometry, self.x.sum(1, keepdim=True)
        sums = F.conv2d(total, ones, None, geometry.stride, geometry.padding, geometry.dilation)
        return sums.reshape(self.units, self.positions)
