"""Rules for LSTM and GRU (and Opacus's DPLSTM, DPGRU): what their backward pass leaves in the book.

torch's fused recurrence keeps to itself what single examples' gradients need: the gradient of what
went into the gates at every step. This one runs the steps itself, keeps that, and is done. Weights,
names and outputs are those of torch.nn.LSTM and torch.nn.GRU (Hochreiter & Schmidhuber 1997; Cho et
al. 2014), so that state dictionaries fit both ways.

Legend: n: rows; t: steps; d: inputs; h: hidden size; gates: 4 h of an LSTM (i, f, g, o), 3 h of a
GRU (r, z, n). Sequences are (t, n, ...) inside, (n, t, ...) outside.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fedward.common.bookkeeping import Page, noted
from fedward.common.errors import ModelError
from fedward.common.recurrent_cells import Gru, Lstm

State = tuple[Tensor, Tensor]


def lstm_rule(layer: Any, page: Page) -> Callable[..., tuple[Tensor, State]]:
    """nn.LSTM: any number of layers, one or both directions, given or zero initial states."""
    _refuse_variants(layer, page)

    def forward(x: Tensor, states: State | None = None) -> tuple[Tensor, State]:
        if not torch.is_grad_enabled():
            answer: tuple[Tensor, State] = type(layer).forward(layer, x, states)
            return answer
        _check(page, x)
        start = list(states) if states else _zeros(layer, x, 2)
        cells: list[Tensor] = []

        def cell(page: Page, x: Tensor, start: list[Tensor], w: list[Any]) -> Tensor:
            current = page.book.use(page.name, len(x))
            out: Tensor
            out, last = noted(Lstm, x, *start, *w, page, current)
            cells.append(last)
            return out

        out, hidden = _unroll(layer, page, x, start, cell)
        return out, (hidden, torch.stack(cells))

    return forward


def gru_rule(layer: Any, page: Page) -> Callable[..., tuple[Tensor, Tensor]]:
    """nn.GRU: any number of layers, one or both directions, given or zero initial state."""
    _refuse_variants(layer, page)

    def cell(page: Page, x: Tensor, start: list[Tensor], w: list[Any]) -> Tensor:
        out: Tensor = noted(Gru, x, start[0], *w, page, page.book.use(page.name, len(x)))
        return out

    def forward(x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled():
            answer: tuple[Tensor, Tensor] = type(layer).forward(layer, x, state)
            return answer
        _check(page, x)
        return _unroll(layer, page, x, _zeros(layer, x, 1) if state is None else [state], cell)

    return forward


def _refuse_variants(layer: Any, page: Page) -> None:
    if getattr(layer, "proj_size", 0):
        raise ModelError(
            f"layer {page.name} projects (proj_size): use an LSTM and a Linear behind it"
        )


def _check(page: Page, x: Any) -> None:
    if not isinstance(x, Tensor) or x.ndim != 3:
        raise ModelError(
            f"layer {page.name} takes a batch of sequences of one length, as one tensor"
        )


def _zeros(layer: Any, x: Tensor, states: int) -> list[Tensor]:
    rows = len(x) if layer.batch_first else x.shape[1]
    return [x.new_zeros(len(layer_names(layer)), rows, layer.hidden_size)] * states


def _unroll(
    layer: Any,
    page: Page,
    x: Tensor,
    states: list[Tensor],
    cell: Callable[[Page, Tensor, list[Tensor], list[Any]], Tensor],
) -> tuple[Tensor, Tensor]:
    """All layers and directions: outputs and last hidden states, (layers x directions, n, h)."""
    if not layer.batch_first:
        x = x.transpose(0, 1)
    last: list[Tensor] = []
    directions = 2 if layer.bidirectional else 1
    for depth in range(layer.num_layers):
        outs = []
        for direction in range(directions):
            index = depth * directions + direction
            name = layer_names(layer)[index]
            seen = x.flip(1) if direction else x
            weights = _weights(layer, name)
            out = cell(
                Page(f"{page.name}{name}", page.book), seen, [s[index] for s in states], weights
            )
            last.append(out[:, -1])
            outs.append(out.flip(1) if direction else out)
        x = torch.cat(outs, 2) if len(outs) > 1 else outs[0]
        if layer.dropout and layer.training and depth + 1 < layer.num_layers:
            x = F.dropout(x, layer.dropout)
    return (x if layer.batch_first else x.transpose(0, 1)), torch.stack(last)


def layer_names(layer: Any) -> list[str]:
    """What torch appends to weight names: _l0, _l0_reverse, _l1, ..."""
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"_l{depth}{end}" for depth in range(layer.num_layers) for end in ends]


def _weights(layer: Any, name: str) -> list[Any]:
    biases = [getattr(layer, f"bias_{side}{name}") if layer.bias else None for side in ("ih", "hh")]
    return [getattr(layer, f"weight_{side}{name}") for side in ("ih", "hh")] + biases
