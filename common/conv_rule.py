"""The rule for Conv2d: what its backward pass leaves in the book."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from fedward.common.bookkeeping import Page, first_only, noted
from fedward.common.conv_gradients import (
    Way,
    cheapest,
    form_patchwise,
    form_singly,
    norms_by_gram,
)
from fedward.common.conv_use import Geometry, Use, centre
from fedward.common.errors import ModelError
from fedward.common.gram import CancelledError
from fedward.common.notes import Note, Sums, Weights
from fedward.common.spare import Spare


def conv_rule(layer: nn.Module, page: Page, *, centred: bool = False) -> Callable[[Tensor], Tensor]:
    """nn.Conv2d on (n, c, height, width); ``centred``: kernels minus their mean are used."""
    own: Any = layer
    if centred and not _is_plain(own):
        raise ModelError(
            f"layer {page.name}: a centred convolution heeds stride and padding alone; leave bias, "
            "groups, dilation and padding mode off it"
        )
    padded_before = own.padding_mode != "zeros" or own.padding == "same"
    padding = (0, 0) if padded_before or own.padding == "valid" else own.padding
    geometry = Geometry(own.stride, padding, own.dilation, own.groups, centred)
    mode = "constant" if own.padding_mode == "zeros" else own.padding_mode

    def forward(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            answer: Tensor = type(layer).forward(layer, x)
            return answer
        current = page.book.use(page.name, len(x))
        if padded_before:
            x = F.pad(x, own._reversed_padding_repeated_twice, mode)
        y: Tensor = noted(_Conv2d, x, layer.weight, layer.bias, geometry, page, current)
        return y

    return forward


def _is_plain(layer: Any) -> bool:
    zeros = layer.padding_mode == "zeros"
    return layer.bias is None and layer.groups == 1 and zeros and set(layer.dilation) == {1}


class _Conv2d(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, *book: Any
    ) -> Tensor:
        kernel = centre(weight) if geometry.centred else weight
        ctx.save_for_backward(x, kernel)
        ctx.weight, ctx.bias, ctx.geometry, ctx.book = weight, bias, geometry, book
        stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
        return F.conv2d(x, kernel, bias, stride, padding, dilation, geometry.groups)

    @staticmethod
    @first_only
    def backward(ctx: Any, g: Tensor) -> Any:
        x, kernel = ctx.saved_tensors
        page, current = ctx.book
        spare = page.book.spare
        layer = _Layer(ctx.weight, ctx.bias, kernel, ctx.geometry, page.unit_size, spare)
        page.write(current, layer.note(x, g))
        g_x = None
        if ctx.needs_input_grad[0]:
            g_x = ctx.geometry.backward(g, x, kernel, of_input=True)
        return g_x, None, None, None, None, None


@dataclass(frozen=True)
class _Layer:
    """One use of a convolution in a backward pass."""

    weight: Any
    bias: Any
    kernel: Tensor
    geometry: Geometry
    unit_size: int
    spare: Spare

    def note(self, x: Tensor, g: Tensor) -> Note:
        """The note for inputs (n, c, h, w) and gradients (n, o, h', w')."""
        if len(x) == 0:
            return Note(x.new_zeros(0), (), lambda weights: ())
        use = Use(x, g, self.kernel, self.geometry, self.unit_size)
        way = cheapest(use)
        bias = 0.0 if self.bias is None else 1.0
        if way in (Way.PIXELS, Way.PATCHES):
            with suppress(CancelledError):
                squared = norms_by_gram(use, by_pixels=way is Way.PIXELS, constant=bias)
                return Note(squared, (x, g), self._sums_of_rows)
        lent = None
        if way is Way.FORM:
            lent = self.spare.take(use.formed, like=x)
            squared, formed = form_patchwise(use, lent)
        else:
            squared, formed = form_singly(use)

        def sums(weights: Weights, *of_bias: Tensor) -> Sums:
            total = formed(weights.units)
            yield self.weight, centre(total) if self.geometry.centred else total
            if of_bias:
                yield self.bias, weights.units @ of_bias[0]

        if self.bias is None:
            return Note(squared, (), sums, lent)
        of_bias = use.outputs().sum(1)
        return Note(squared + of_bias.square().sum(1), (of_bias,), sums, lent)

    def _sums_of_rows(self, weights: Weights, x: Tensor, g: Tensor) -> Sums:
        scaled = g * weights.rows.view(-1, 1, 1, 1)
        gradient = self.geometry.backward(scaled, x, self.kernel, of_input=False)
        yield self.weight, centre(gradient) if self.geometry.centred else gradient
        if self.bias is not None:
            yield self.bias, scaled.sum((0, 2, 3))
