"""Rules for Linear and Embedding: what their backward pass leaves in the book.

Legend: n: rows; u: units; t: places of a unit (all its rows and all dimensions between first and
last); d: inputs; o: outputs.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fedward.common.bookkeeping import Page, first_only, noted
from fedward.common.errors import ModelError
from fedward.common.gram import (
    CancelledError,
    by_unit,
    gram_is_cheaper,
    gram_squared_norms,
    squared_norms_of,
)
from fedward.common.notes import Note, Sums, Weights


def linear_rule(layer: Any, page: Page) -> Callable[[Tensor], Tensor]:
    """nn.Linear on (n, ..., d)."""

    def forward(x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.linear(x, layer.weight, layer.bias)
        current = page.book.use(page.name, len(x))
        y: Tensor = noted(_Linear, x, layer.weight, layer.bias, page, current)
        return y

    return forward


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *book: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias, ctx.book = bias, book
        return F.linear(x, weight, bias)

    @staticmethod
    @first_only
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        page, current = ctx.book
        page.write(current, linear_note(x, g, weight, ctx.bias, page.unit_size))
        return (g @ weight if ctx.needs_input_grad[0] else None), None, None, None, None


def linear_note(x: Tensor, g: Tensor, weight: Any, bias: Any, unit_size: int) -> Note:
    """The note of weight (o, d) and bias (o,) or None; x (n, ..., d), gradients (n, ..., o)."""
    constant = 0.0 if bias is None else 1.0
    if x.ndim == 2 and unit_size == 1:  # one outer product: its norm is a product
        squared = (x.square().sum(1) + constant) * g.square().sum(1)
        return Note(squared, (x, g), _linear_sums(weight, bias))
    inputs, outputs = by_unit(x, unit_size), by_unit(g, unit_size)
    if gram_is_cheaper(inputs.shape[1], *reversed(weight.shape)):
        with suppress(CancelledError):
            squared = gram_squared_norms(inputs, outputs, constant=constant)
            return Note(squared, (x, g), _linear_sums(weight, bias))
    formed = torch.bmm(outputs.transpose(1, 2), inputs)
    squared = formed.square().sum((1, 2))
    if bias is None:
        return Note(squared, (formed,), lambda w, held: [(weight, summed(w, held))])
    of_bias = outputs.sum(1)

    def sums(weights: Weights, held: Tensor, held_bias: Tensor) -> Sums:
        return [(weight, summed(weights, held)), (bias, summed(weights, held_bias))]

    return Note(squared + of_bias.square().sum(1), (formed, of_bias), sums)


def _linear_sums(weight: Any, bias: Any) -> Callable[..., Sums]:
    def sums(weights: Weights, x: Tensor, g: Tensor) -> Sums:
        scaled = (g * weights.rows.view(-1, *[1] * (g.ndim - 1))).flatten(0, -2)
        yield weight, scaled.T @ x.flatten(0, -2)
        if bias is not None:
            yield bias, scaled.sum(0)

    return sums


def summed(weights: Weights, formed: Tensor) -> Tensor:
    """Weighted sum over units of gradients that were formed, (u, ...) to (...)."""
    return (weights.units @ formed.flatten(1)).view(formed.shape[1:])


def embedding_rule(layer: Any, page: Page) -> Callable[[Tensor], Tensor]:
    """nn.Embedding on indices (n, ...); padding rows have no gradient."""
    for option in ("max_norm", "scale_grad_by_freq", "sparse"):
        if getattr(layer, option):
            raise ModelError(
                f"layer {page.name}: an embedding with {option} mixes examples; drop it"
            )
    padding: int | None = layer.padding_idx

    def forward(indices: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return F.embedding(indices, layer.weight, padding)
        current = page.book.use(page.name, len(indices))
        y: Tensor = noted(_Embedding, layer.weight, indices, padding, page, current)
        return y

    return forward


class _Embedding(Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, indices: Tensor, padding: int | None, *book: Any
    ) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.weight, ctx.padding, ctx.book = weight, padding, book
        return F.embedding(indices, weight, padding)

    @staticmethod
    @first_only
    def backward(ctx: Any, g: Tensor) -> Any:
        (indices,) = ctx.saved_tensors
        page, current = ctx.book
        page.write(current, _embedding_note(ctx.weight, indices, g, ctx.padding, page.unit_size))
        return None, None, None, None, None


def _embedding_note(weight: Any, indices: Tensor, g: Tensor, padding: int | None, k: int) -> Note:
    if padding is not None:
        g = torch.where((indices == padding).unsqueeze(-1), 0, g)
    rows, outputs = by_unit(indices.unsqueeze(-1), k), by_unit(g, k)
    same = (rows == rows.transpose(1, 2)).to(g.dtype)  # (u, t, t): one-hot inputs' Gram
    try:
        squared = squared_norms_of(same, outputs, terms=1)
    except CancelledError:
        return _formed_embedding_note(weight, rows.squeeze(2), outputs)

    def sums(weights: Weights, indices: Tensor, g: Tensor) -> Sums:
        scaled = g * weights.rows.view(-1, *[1] * (g.ndim - 1))
        total = torch.zeros_like(weight)
        total.index_add_(0, indices.flatten(), scaled.flatten(0, -2))
        yield weight, total

    return Note(squared, (indices, g), sums)


def _formed_embedding_note(weight: Any, indices: Tensor, outputs: Tensor) -> Note:
    """From indices (u, t) and gradients (u, t, o)."""
    formed = outputs.new_zeros(len(indices), *weight.shape)
    for unit, words, gradients in zip(formed, indices, outputs, strict=True):
        unit.index_add_(0, words, gradients)
    squared = formed.square().sum((1, 2))
    return Note(squared, (formed,), lambda weights, held: [(weight, summed(weights, held))])
