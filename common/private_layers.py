"""Which layers can be trained privately in one backward pass, and keeping a book on a model.

Fails closed: a layer with parameters of its own that no rule is known for, a layer that mixes
examples, and shared parameters are refused by name, never guessed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
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
    "MultiheadAttention": "use opacus.layers.DPMultiheadAttention with batch_first=True",
    "Bilinear": "use Linear",
}

# What rules look for; others (weight_norm's, spectral_norm's) would silently not be trained.
PARAMETERS = re.compile(r"(weight|bias)(_(ih|hh|hr)_l\d+(_reverse)?)?")
DTYPES = (torch.float32, torch.float64)  # in others, norms are too coarse to promise anything


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
            _check_whole(layer, shown)
            found.append((name or kind, layer, rule))
        return
    for child_name, child in layer.named_children():
        _walk(child, f"{name}.{child_name}" if name else child_name, found)


def _check_whole(layer: nn.Module, shown: str) -> None:
    """Refuse what was done to a single layer."""
    for name, parameter in layer.named_parameters(recurse=False):
        if not PARAMETERS.fullmatch(name):
            raise ModelError(
                f"layer {shown} computes its weights from {name}: take weight_norm, spectral_norm "
                "or pruning off it"
            )
        if parameter.dtype not in DTYPES:
            raise ModelError(f"layer {shown} is in {parameter.dtype}: train it in float32")
    if "forward" in vars(layer):
        raise ModelError(
            f"layer {shown} has a forward pass that is not its type's: release the book that is "
            "kept on it already"
        )


def _instead(kind: str) -> str:
    known = (cure for part, cure in INSTEAD.items() if part in kind)
    kinds = ", ".join(sorted(kind.__name__ for kind in RULES if hasattr(nn, kind.__name__)))
    return next(known, f"build it from {kinds}, or freeze it (requires_grad_(False))")


class _Noting:
    """A layer's forward pass while a book is kept; a copy of the model gets a book of its own."""

    def __init__(self, layer: nn.Module, rule: Rule, page: Page) -> None:
        self._made_from = layer, rule, page
        self._run = rule(layer, page)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._run(*inputs, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Noting":
        return _Noting(*deepcopy(self._made_from, memo))


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
        passes = [_Noting(layer, rule, Page(name, self.book)) for name, layer, rule in layers]
        self._layers: list[Any] = [layer for _, layer, _ in layers]
        for layer, own in zip(self._layers, passes, strict=True):  # now that none was refused
            layer.forward = own
        self._hook = model.register_forward_pre_hook(self._begin, with_kwargs=True)

    def release(self) -> None:
        """Give the layers their own forward passes back."""
        for layer in self._layers:
            layer.__dict__.pop("forward", None)
        self._layers = []
        self._hook.remove()

    def _begin(self, model: nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        if torch.is_grad_enabled():
            given = next(_tensors([*inputs, named]), None)
            if given is None:
                raise ModelError("the model was given no tensor, whose rows would be the examples")
            self.book.open_pass(len(given))


def _tensors(given: Any) -> Iterator[Tensor]:
    """All tensors with rows in nested tuples, lists and dictionaries, in their order."""
    if isinstance(given, Tensor):
        if given.ndim:
            yield given
    elif isinstance(given, Mapping):
        yield from _tensors(list(given.values()))
    elif isinstance(given, (tuple, list)):
        for part in given:
            yield from _tensors(part)


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
