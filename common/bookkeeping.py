"""Clipped gradient sums in one backward pass: a book in which every layer leaves a note.

While a book is kept on a model, a layer's backward pass computes the gradient of its input as ever
but not the gradient of its parameters. It notes the squared norm of every unit's gradient instead,
together with what is needed to sum those gradients with any weights. When the pass is over, the
norms of all layers give one clipping weight per unit, and every layer sums once. No gradient is
computed twice and no second pass is needed.

A unit is what privacy protects: one example, or k consecutive examples of one patient, whose mean
gradient is then clipped as one.

Sources: Goodfellow 2015, "Efficient per-example gradient computations"; Bu et al. 2023,
"Differentially Private Optimization on Large Model at Small Cost", section 3.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fedward.common.errors import ModelError
from fedward.common.notes import Note, Pass, Sums, Weights
from fedward.common.spare import Spare

STABILITY = 1e-6  # Opacus's, so that both clip alike
ROUNDING = {
    torch.float32: 1e-5
}  # taken off every clipping norm, for sums that rounding makes longer


class Book:
    """Notes of all layers, from the passes since the last clipping.

    Args:
        parameters: all that the notes will be about.
        unit_size: examples per unit; consecutive rows belong to one unit.
        loss_reduction: how the loss combines examples, "mean" or "sum".

    Attributes:
        most_passes: backward passes allowed before they are clipped; None is any number.
        spare: memory that layers may borrow for a note.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        *,
        unit_size: int,
        loss_reduction: Literal["mean", "sum"],
    ) -> None:
        self.parameters = parameters
        self.unit_size = unit_size
        self.most_passes: int | None = None
        self.spare = Spare()
        self._mean = loss_reduction == "mean"
        self._passes: list[Pass] = []
        self._known_grads: list[tuple[Tensor | None, int]]
        self._know_gradients()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Book":
        """An empty book about the copied model's parameters."""
        reduction: Literal["mean", "sum"] = "mean" if self._mean else "sum"
        parameters = deepcopy(self.parameters, memo)
        twin = Book(parameters, unit_size=self.unit_size, loss_reduction=reduction)
        twin.most_passes = self.most_passes
        return twin

    def open_pass(self, rows: int) -> None:
        """The model begins a forward pass on so many rows."""
        self._passes = [p for p in self._passes if p.notes]  # others were never differentiated
        if not self._passes:
            self._know_gradients()
        self._passes.append(Pass(rows))

    def use(self, layer: str, rows: int) -> Pass:
        """A layer begins its forward pass. Returns the pass that its note belongs to.

        Raises:
            ModelError: where gradients of single examples cannot be told apart.
        """
        if not self._passes:
            raise ModelError(
                f"layer {layer} is called without its model, so that the number of examples is not "
                "known: call the whole model"
            )
        current = self._passes[-1]
        if layer in current.used:
            raise ModelError(
                f"layer {layer} is used twice in one forward pass, which private training does "
                "not support: give every use a layer of its own"
            )
        if rows != current.rows:
            raise ModelError(
                f"layer {layer} sees {rows} rows where the model was given {current.rows}: private "
                "training needs examples in the first dimension of every layer"
            )
        if rows % self.unit_size:
            raise ModelError(f"{rows} rows are no whole number of units of {self.unit_size}")
        current.used.add(layer)
        return current

    def check_pass(self, layer: str, current: Pass) -> None:
        """Raises ModelError when a layer's note comes too late, or in a pass too many."""
        if current not in self._passes:
            raise ModelError(
                f"layer {layer} was differentiated for a forward pass before the last one: call "
                "backward() before the model is called again, or call it once on all rows"
            )
        if self.most_passes is not None and self.accumulated() > self.most_passes:
            raise ModelError(
                "a second backward pass came before the optimiser's step: under Poisson sampling a "
                "step is one batch; call step() and zero_grad() after every backward pass"
            )

    def accumulated(self) -> int:
        """Passes that wait to be clipped."""
        return sum(bool(p.notes) for p in self._passes)

    def clear(self) -> None:
        """Forget everything noted; a forward pass that is yet to be differentiated still counts."""
        for current in self._passes:
            for note in current.notes.values():
                self._take_back(note)
        self._passes = [p for p in self._passes if not p.notes]
        self._know_gradients()

    def norms(self) -> list[Tensor]:
        """Norms of the units' gradients, a tensor (units,) for every pass; infinite or NaN where a
        unit's gradient is not finite."""
        return [self._norms(p) for p in self._passes if p.notes]

    @torch.no_grad()
    def clipped_sums(self, clipping_norm: float) -> list[Tensor]:
        """Sum of all units' gradients, each scaled to at most ``clipping_norm``; then forget them.

        A unit whose gradient is not finite adds nothing.

        Returns:
            A tensor for every one of ``parameters``, of its shape.

        Raises:
            ModelError: a parameter also got a gradient that is in no note.
        """
        self._check_no_stray_gradient()
        total: dict[int, Tensor] = {}
        for current in (p for p in self._passes if p.notes):
            for parameter, gradient in self._clip(current, clipping_norm):
                have = total.get(id(parameter))
                total[id(parameter)] = gradient if have is None else have.add_(gradient)
        self.clear()
        return [
            total[id(p)].reshape(p.shape) if id(p) in total else torch.zeros_like(p)
            for p in self.parameters
        ]

    def _norms(self, current: Pass) -> Tensor:
        shares = [note.squared_norms for note in current.notes.values()]
        if len({len(share) for share in shares}) > 1:
            raise ModelError("layers of one pass saw different numbers of examples")
        return torch.stack(shares).sum(0).sqrt() * self._scale(len(shares[0]))

    def _scale(self, units: int) -> float:
        """From a unit's share of the loss to the mean loss of its own examples."""
        return float(units) if self._mean else 1 / self.unit_size

    def _clip(self, current: Pass, clipping_norm: float) -> Sums:
        norms = self._norms(current)
        bound = clipping_norm * (1 - ROUNDING.get(norms.dtype, 0.0))
        finite = torch.isfinite(norms)
        units = torch.where(finite, (bound / (norms + STABILITY)).clamp(max=1.0), 0)
        if len(units) == 0:  # an empty batch: every sum is zero
            return
        units = units * self._scale(len(units))
        weights = Weights(units, units.repeat_interleave(self.unit_size))
        whole = bool(finite.all())
        while current.notes:  # a note is dropped once summed: it can be larger than the model
            layer, note = current.notes.popitem()
            if not note.unchanged():
                raise ModelError(
                    f"what layer {layer} was given was changed in place before its gradients were "
                    "summed: give every batch tensors of its own"
                )
            held = note.held
            if not whole:  # zero times infinity is not zero: what is not finite must go
                held = tuple(self._without(tensor, finite) for tensor in held)
            yield from note.sums(weights, *held)
            self._take_back(note)

    def _take_back(self, note: Note) -> None:
        if note.lent is not None:
            self.spare.give(note.lent)

    def _without(self, tensor: Tensor, keep: Tensor) -> Tensor:
        rows = keep if len(tensor) == len(keep) else keep.repeat_interleave(self.unit_size)
        return torch.where(rows.view(-1, *[1] * (tensor.ndim - 1)), tensor, 0)

    def _know_gradients(self) -> None:
        self._known_grads = [(p.grad, _version(p.grad)) for p in self.parameters]

    def _check_no_stray_gradient(self) -> None:
        for parameter, (known, version) in zip(self.parameters, self._known_grads, strict=True):
            grad = parameter.grad
            if grad is not None and (grad is not known or _version(grad) != version):
                raise ModelError(
                    f"a parameter of shape {tuple(parameter.shape)} got a gradient past its layer, "
                    "which cannot be clipped: use parameters through their layers alone"
                )


def _version(tensor: Tensor | None) -> int:
    return -1 if tensor is None else tensor._version


def noted(function: Any, *inputs: Any) -> Any:
    """What an autograd function of a layer returns; torch has no types for ``apply``."""
    return function.apply(*inputs)


def first_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's backward pass, which cannot be differentiated itself."""

    @wraps(backward)
    def checked(ctx: Any, *gradients: Tensor) -> Any:
        if torch.is_grad_enabled():
            raise ModelError(
                f"layer {ctx.book[0].name}: second derivatives (create_graph=True) of single "
                "examples are not supported"
            )
        return backward(ctx, *gradients)

    return checked


@dataclass(frozen=True)
class Page:
    """A layer's access to the book; what a rule (common/private_layers.py) is given.

    Attributes:
        name: of the layer in the model, for messages.
        book: where its notes go.
    """

    name: str
    book: Book

    @property
    def unit_size(self) -> int:
        """Examples per unit."""
        return self.book.unit_size

    def write(self, current: Pass, note: Note) -> None:
        """Leave a note, at the end of the layer's backward pass."""
        if self.name in current.notes:
            raise ModelError(f"layer {self.name} was differentiated twice for one forward pass")
        current.notes[self.name] = note
        self.book.check_pass(self.name, current)
