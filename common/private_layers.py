"""Which layers can be trained privately in one backward pass, and keeping a book on a model.

Fails closed: a layer with parameters of its own that no rule is known for, a layer that mixes
examples, and shared parameters are refused by name, never guessed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fedward.common.bookkeeping import Book, Page
from fedward.common.cnn import CentredConv2d
from fedward.common.conv_rule import conv_rule
from fedward.common.dense_rules import embedding_rule, linear_rule
from fedward.common.errors import ModelError
from fedward.common.norm_rules import group_norm_rule, layer_norm_rule
from fedward.common.recurrent_rules import gru_rule, lstm_rule

Rule = Callable[[Any, Page], Callable[..., Any]]
Layers = list[tuple[str, nn.Module, Rule]]

# By exact type: a subclass may compute anything.
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear_rule,
    nn.Embedding: embedding_rule,
    nn.Conv2d: conv_rule,
    CentredConv2d: partial(conv_rule, centred=True),
    nn.GroupNorm: group_norm_rule,
    nn.LayerNorm: layer_norm_rule,
    nn.LSTM: lstm_rule,
    nn.GRU: gru_rule,
    # Linear under the name that MultiheadAttention gives it: the same layer
    nn.modules.linear.NonDynamicallyQuantizableLinear: linear_rule,
}
OPACUS_RULES: dict[str, Rule] = {"DPLSTM": lstm_rule, "DPGRU": gru_rule}

INSTEAD = {
    "BatchNorm": "use GroupNorm, or fold it into the layer before it",
    "InstanceNorm": "use GroupNorm with one channel per group",
    "Conv1d": "use Conv2d on (n, c, 1, length)",
    "Conv3d": "freeze it, or train with Opacus's grad_sample_mode='hooks'",
    "RNN": "use LSTM or GRU",
    "MultiheadAttention": "use opacus.layers.DPMultiheadAttention",
    "Bilinear": "use Linear",
}


def rule_of(layer: nn.Module) -> Rule | None:
    """The rule for exactly this kind of layer, or None."""
    kind = type(layer)
    if kind.__module__ == "opacus.layers.dp_rnn":
        return OPACUS_RULES.get(kind.__name__)
    return RULES.get(kind)


def layers_of(model: nn.Module) -> Layers:
    """All layers with trainable parameters, with their names and rules.

    Raises:
        ModelError: naming the layer that cannot be trained privately, and what to use instead.
    """
    found: Layers = []
    owners: dict[int, str] = {}
    _walk(model, "", found)
    for name, layer, _ in found:
        for parameter in set(layer.parameters()):
            if id(parameter) in owners:
                raise ModelError(
                    f"layers {owners[id(parameter)]} and {name} share a parameter (tied weights), "
                    "which private training cannot tell apart: give each its own"
                )
            owners[id(parameter)] = name
    return found


def _walk(layer: nn.Module, name: str, found: Layers) -> None:
    kind = type(layer).__name__
    shown = f"{name or 'of the model itself'} ({kind})"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        raise ModelError(f"layer {shown} mixes examples: {_instead(kind)}")
    if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats:
        raise ModelError(f"layer {shown} gathers statistics of examples: {_instead(kind)}")
    rule = rule_of(layer)
    own = list(layer.parameters(recurse=rule is not None))
    trained = [p.requires_grad for p in own]
    if any(trained) and rule is None:
        raise ModelError(f"layer {shown} has no rule for private training: {_instead(kind)}")
    if any(trained) and not all(trained):
        raise ModelError(f"layer {shown} is frozen in part: freeze all of it, or nothing")
    if rule is not None:
        if any(trained):
            found.append((name or kind, layer, rule))
        return
    for child_name, child in layer.named_children():
        _walk(child, f"{name}.{child_name}" if name else child_name, found)


def _instead(kind: str) -> str:
    known = (cure for part, cure in INSTEAD.items() if part in kind)
    kinds = ", ".join(
        sorted(kind.__name__ for kind in RULES if kind.__module__.startswith("torch"))
    )
    return next(known, f"build it from {kinds}, or freeze it (requires_grad_(False))")


class BoundBook:
    """A book kept on a model until ``release``.

    Args:
        model: its layers write into ``book`` in every backward pass from now on.
        unit_size: consecutive rows that are one unit.
        loss_reduction: how the loss combines rows, "mean" or "sum".

    Raises:
        ModelError: as ``layers_of``.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        unit_size: int = 1,
        loss_reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        layers = layers_of(model)
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.book = Book(parameters, unit_size=unit_size, loss_reduction=loss_reduction)
        self._layers: list[Any] = [layer for _, layer, _ in layers]
        for name, layer, rule in layers:
            layer.forward = rule(layer, Page(name, self.book))
        self._hook = model.register_forward_pre_hook(self._begin, with_kwargs=True)

    def release(self) -> None:
        """Give the layers their own forward passes back."""
        for layer in self._layers:
            layer.__dict__.pop("forward", None)
        self._layers = []
        self._hook.remove()

    def _begin(self, model: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            given = [x for x in (*inputs, *named.values()) if isinstance(x, Tensor) and x.ndim]
            self.book.open_pass(len(given[0]) if given else None)


@contextmanager
def keep_book(
    model: nn.Module, *, unit_size: int = 1, loss_reduction: Literal["mean", "sum"] = "mean"
) -> Iterator[Book]:
    """A book on a model for as long as the context lasts; then the model is as it was.

    Raises:
        ModelError: as ``layers_of``.
    """
    bound = BoundBook(model, unit_size=unit_size, loss_reduction=loss_reduction)
    try:
        yield bound.book
    finally:
        bound.release()
