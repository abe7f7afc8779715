"""One layer and direction of an LSTM or GRU, forward and backward, step by step.

Legend: n: rows; t: steps; d: inputs; h: hidden size; gates: 4 h of an LSTM (i, f, g, o), 3 h of a
GRU (r, z, n). Sequences are (t, n, ...) inside, (n, t, ...) outside.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fedward.common import kernels
from fedward.common.bookkeeping import first_only
from fedward.common.outer_products import Product, note_of


class Lstm(Function):
    """x (n, t, d), first states and cells (n, h), weights, biases or None, page, pass -> outputs
    (n, t, h) and last cells (n, h)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, *rest: Any
    ) -> tuple[Tensor, Tensor]:
        """Keeps gates, states and cells of every step."""
        b_ih, b_hh, *ctx.book = rest
        n, t, _ = x.shape
        steps = x.transpose(0, 1).contiguous()
        gates = _projected(steps, w_ih, None if b_ih is None else b_ih + b_hh)
        hidden, cells = x.new_empty(t + 1, n, w_hh.shape[1]), x.new_empty(t + 1, n, w_hh.shape[1])
        hidden[0], cells[0] = h0, c0
        tanh_cells = torch.empty_like(cells[1:])
        step = _compiled_step if kernels.compiled_for(x, w_hh) else _torch_step
        for k in range(t):
            gates[k].addmm_(hidden[k], w_hh.t())
            step(gates[k], cells[k], cells[k + 1], tanh_cells[k], hidden[k + 1])
        ctx.save_for_backward(w_ih, w_hh, steps)
        ctx.kept = gates, hidden, cells, tanh_cells
        ctx.parameters = (w_ih, w_hh), (b_ih, b_hh)
        out = hidden[1:].transpose(0, 1).clone(memory_format=torch.contiguous_format)
        return out, cells[t].clone()

    @staticmethod
    @first_only
    def backward(ctx: Any, g_out: Tensor, g_last: Tensor) -> Any:
        """Leaves a note of weights and biases."""
        w_ih, w_hh, steps = ctx.saved_tensors
        gates, hidden, cells, tanh_cells = ctx.kept
        g_steps = g_out.transpose(0, 1).contiguous()
        g_cell = g_last.clone(memory_format=torch.contiguous_format)
        g_gates, g_hidden = gates, torch.zeros_like(g_cell)  # in place: gates are used once
        back = _compiled_back if kernels.compiled_for(gates, w_hh) else _torch_back
        for k in range(len(gates) - 1, -1, -1):
            g_hidden += g_steps[k]
            back(gates[k], cells[k], tanh_cells[k], g_hidden, g_cell, g_gates[k])
            torch.mm(g_gates[k], w_hh, out=g_hidden)
        seen = torch.cat([steps, hidden[:-1]], 2)
        del steps, gates, hidden, cells, tanh_cells, g_steps, ctx.kept
        page, current = ctx.book
        page.write(current, note_of([Product(seen, g_gates, *ctx.parameters)], page.unit_size))
        g_x = (g_gates @ w_ih).transpose(0, 1) if ctx.needs_input_grad[0] else None
        return g_x, g_hidden, g_cell, None, None, None, None, None, None


def _projected(steps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What every step's input gives to the gates, (t, n, gates)."""
    return F.linear(steps.flatten(0, 1), weight, bias).view(*steps.shape[:2], len(weight))


def _compiled_step(gates: Tensor, before: Tensor, cell: Tensor, tanh: Tensor, out: Tensor) -> None:
    kernels.lstm_step(gates.numpy(), before.numpy(), cell.numpy(), tanh.numpy(), out.numpy())


def _torch_step(gates: Tensor, before: Tensor, cell: Tensor, tanh: Tensor, out: Tensor) -> None:
    i, f, g, o = gates.chunk(4, 1)
    for gate in (i, f, o):
        gate.sigmoid_()
    g.tanh_()
    torch.mul(f, before, out=cell).addcmul_(i, g)
    torch.mul(o, torch.tanh(cell, out=tanh), out=out)


def _compiled_back(
    gates: Tensor, before: Tensor, tanh: Tensor, g_out: Tensor, g_cell: Tensor, g_gates: Tensor
) -> None:
    kernels.lstm_step_back(
        gates.numpy(),
        before.numpy(),
        tanh.numpy(),
        g_out.numpy(),
        g_cell.numpy(),
        g_gates.numpy(),
    )


def _torch_back(
    gates: Tensor, before: Tensor, tanh: Tensor, g_out: Tensor, g_cell: Tensor, g_gates: Tensor
) -> None:
    i, f, g, o = gates.chunk(4, 1)
    g_cell += g_out * o * (1 - tanh * tanh)
    g_i = g_cell * g * i * (1 - i)
    g_f = g_cell * before * f * (1 - f)
    g_g = g_cell * i * (1 - g * g)
    g_o = g_out * tanh * o * (1 - o)
    g_cell *= f
    torch.cat([g_i, g_f, g_g, g_o], 1, out=g_gates)


class Gru(Function):
    """x (n, t, d), first states (n, h), weights, biases or None, page, pass -> outputs
    (n, t, h)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, w_ih: Tensor, w_hh: Tensor, *rest: Any) -> Tensor:
        """Keeps gates and states of every step."""
        b_ih, b_hh, *ctx.book = rest
        size = w_hh.shape[1]
        steps = x.transpose(0, 1).contiguous()
        inputs = _projected(steps, w_ih, b_ih)
        states, gates, new = [h0], [], []
        for k in range(len(steps)):
            recurrent = F.linear(states[k], w_hh, b_hh)
            rz = torch.sigmoid(inputs[k, :, : 2 * size] + recurrent[:, : 2 * size])
            r, z = rz.chunk(2, 1)
            n = torch.tanh(inputs[k, :, 2 * size :] + r * recurrent[:, 2 * size :])
            states.append(n + z * (states[k] - n))
            gates.append(torch.cat([rz, n], 1))
            new.append(recurrent[:, 2 * size :])
        ctx.save_for_backward(w_ih, w_hh, steps, h0)
        ctx.kept = states[1:], gates, new
        ctx.parameters = (w_ih, b_ih), (w_hh, b_hh)
        return torch.stack(states[1:], 1)

    @staticmethod
    @first_only
    def backward(ctx: Any, g_out: Tensor) -> Any:
        """Leaves a note of weights and biases."""
        w_ih, w_hh, steps, h0 = ctx.saved_tensors
        states, gates, new = ctx.kept
        states = [h0, *states]
        g_inputs = [torch.empty(0)] * len(gates)
        g_recurrent = list(g_inputs)
        g_hidden = torch.zeros_like(states[0])
        for k in range(len(gates) - 1, -1, -1):
            r, z, n = gates[k].chunk(3, 1)
            g = g_hidden + g_out[:, k]
            g_n = g * (1 - z) * (1 - n * n)
            g_z = g * (states[k] - n) * z * (1 - z)
            g_r = g_n * new[k] * r * (1 - r)
            g_inputs[k] = torch.cat([g_r, g_z, g_n], 1)
            g_recurrent[k] = torch.cat([g_r, g_z, g_n * r], 1)
            g_hidden = g * z + g_recurrent[k] @ w_hh
        of_inputs, of_states = torch.stack(g_inputs), torch.stack(g_recurrent)
        (_, b_ih), (_, b_hh) = ctx.parameters
        products = [
            Product(steps, of_inputs, (ctx.parameters[0][0],), (b_ih,)),
            Product(torch.stack(states[:-1]), of_states, (ctx.parameters[1][0],), (b_hh,)),
        ]
        page, current = ctx.book
        page.write(current, note_of(products, page.unit_size))
        g_x = (of_inputs @ w_ih).transpose(0, 1) if ctx.needs_input_grad[0] else None
        return g_x, g_hidden, None, None, None, None, None, None
