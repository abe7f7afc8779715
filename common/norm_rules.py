"""Rules for GroupNorm and LayerNorm: what their backward pass leaves in the book.

Source of GroupNorm's gradients: the three sums over places of Wu & He 2018, as in torch's own
kernel, kept apart for every example instead of added up.

Legend: n: rows; u: units; c: channels; s: places.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fedward.common import kernels
from fedward.common.bookkeeping import Page, first_only, noted
from fedward.common.dense_rules import summed
from fedward.common.errors import ModelError
from fedward.common.notes import Note, Sums, Weights

aten = torch.ops.aten


def group_norm_rule(layer: Any, page: Page) -> Callable[[Tensor], Tensor]:
    """nn.GroupNorm on (n, c, ...)."""

    def forward(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)
        current = page.book.use(page.name, len(x))
        y: Tensor = noted(
            _GroupNorm, x, layer.weight, layer.bias, layer.num_groups, layer.eps, page, current
        )
        return y

    return forward


class _GroupNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, *book: Any
    ) -> Tensor:
        n, c = x.shape[:2]
        places = x[0].numel() // c if n else 0
        y: Tensor
        y, mean, rstd = aten.native_group_norm(x, weight, bias, n, c, places, groups, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.bias, ctx.book = bias, book
        return y

    @staticmethod
    @first_only
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, mean, rstd = ctx.saved_tensors
        page, current = ctx.book
        if _channels_last(x) and kernels.compiled_for(x, g, weight):
            g_x, g_weight, g_bias = _compiled_back(x, g, weight, mean, rstd)
        else:
            g_x, g_weight, g_bias = _native_back(x, g, weight, mean, rstd)
        page.write(current, _affine_note(g_weight, g_bias, weight, ctx.bias, page.unit_size))
        return g_x, None, None, None, None, None, None


def _channels_last(x: Tensor) -> bool:
    laid_out = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return laid_out and len(x) > 0 and not x.is_contiguous()


def _compiled_back(
    x: Tensor, g: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    def places_last(maps: Tensor) -> Any:
        """(n, c, h, w) in channels_last to (n, s, c), without a copy."""
        return maps.permute(0, 2, 3, 1).view(n, -1, c).numpy()

    n, c = x.shape[:2]
    g = g.contiguous(memory_format=torch.channels_last)
    g_x, g_weight, g_bias = torch.empty_like(x), x.new_empty(n, c), x.new_empty(n, c)
    kernels.group_norm_back(
        places_last(g),
        places_last(x),
        mean.numpy(),
        rstd.numpy(),
        weight.detach().numpy(),
        places_last(g_x),
        g_weight.numpy(),
        g_bias.numpy(),
    )
    return g_x, g_weight, g_bias


def _native_back(
    x: Tensor, g: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All examples as channels of one: torch's kernel then returns their gradients apart."""
    n, c = x.shape[:2]
    if n == 0:
        return torch.zeros_like(x), x.new_zeros(0, c), x.new_zeros(0, c)
    places = x[0].numel() // c
    flat, flat_g = x.reshape(1, n * c, places), g.reshape(1, n * c, places)
    g_x, g_weight, g_bias = aten.native_group_norm_backward(
        flat_g.contiguous(),
        flat.contiguous(),
        mean.view(1, -1),
        rstd.view(1, -1),
        weight.repeat(n),
        1,
        n * c,
        places,
        mean.numel(),
        [True, True, True],
    )
    return g_x.view(x.shape), g_weight.view(n, c), g_bias.view(n, c)


def layer_norm_rule(layer: Any, page: Page) -> Callable[[Tensor], Tensor]:
    """nn.LayerNorm on (n, ..., *normalized_shape)."""

    def forward(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
        if x.ndim <= len(layer.normalized_shape):
            raise ModelError(f"layer {page.name} mixes examples: leave their dimension to itself")
        current = page.book.use(page.name, len(x))
        y: Tensor = noted(
            _LayerNorm,
            x,
            layer.weight,
            layer.bias,
            layer.normalized_shape,
            layer.eps,
            page,
            current,
        )
        return y

    return forward


class _LayerNorm(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shape: Any, eps: float, *book: Any
    ) -> Tensor:
        y: Tensor
        y, mean, rstd = aten.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.bias, ctx.shape, ctx.book = bias, shape, book
        return y

    @staticmethod
    @first_only
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, mean, rstd = ctx.saved_tensors
        page, current = ctx.book
        g_x, _, _ = aten.native_layer_norm_backward(
            g, x, ctx.shape, mean, rstd, weight, ctx.bias, [ctx.needs_input_grad[0], False, False]
        )
        between = tuple(range(1, x.ndim - len(ctx.shape)))
        g_weight, g_bias = g * (x - mean) * rstd, g
        if between:
            g_weight, g_bias = g_weight.sum(between), g_bias.sum(between)
        page.write(current, _affine_note(g_weight, g_bias, weight, ctx.bias, page.unit_size))
        return g_x, None, None, None, None, None, None


def _affine_note(g_weight: Tensor, g_bias: Tensor, weight: Any, bias: Any, k: int) -> Note:
    """The note of a scale and a shift whose gradients are known for every row, (n, ...)."""
    held = tuple(
        gradient.unflatten(0, (len(gradient) // k, k)).sum(1) if k > 1 else gradient
        for gradient in ((g_weight,) if bias is None else (g_weight, g_bias))
    )
    squared = torch.stack([gradient.flatten(1).square().sum(1) for gradient in held]).sum(0)

    def sums(weights: Weights, *held: Tensor) -> Sums:
        for parameter, gradient in zip((weight, bias), held, strict=False):
            yield parameter, summed(weights, gradient)

    return Note(squared, held, sums)
