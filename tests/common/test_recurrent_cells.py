"""One step of an LSTM and of a GRU by hand, and what their backward passes note."""

from math import exp, tanh
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward.common.bookkeeping import Book
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE
from fedward.common.private_layers import keep_book
from fedward.common.recurrent_cells import _compiled_back, _compiled_step, _torch_back, _torch_step


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_a_step_of_an_lstm_by_hand() -> None:
    gates, before = row(0.5, -1.0, 2.0, 0.25), row(3.0)
    cell, tanh_cell, out = row(0.0), row(0.0), row(0.0)
    _torch_step(gates, before, cell, tanh_cell, out)
    i, f, g, o = sigmoid(0.5), sigmoid(-1.0), tanh(2.0), sigmoid(0.25)
    new = f * 3.0 + i * g
    torch.testing.assert_close(gates, row(i, f, g, o))
    torch.testing.assert_close(cell, row(new))
    torch.testing.assert_close(tanh_cell, row(tanh(new)))
    torch.testing.assert_close(out, row(o * tanh(new)))


def test_a_step_back_through_an_lstm_by_hand() -> None:
    i, f, g, o, before, t = 0.6, 0.3, -0.5, 0.8, 2.0, 0.25
    g_cell, g_gates = row(4.0), row(0.0, 0.0, 0.0, 0.0)
    _torch_back(row(i, f, g, o), row(before), row(t), row(10.0), g_cell, g_gates)
    s = 4.0 + 10.0 * o * (1 - t * t)
    wanted = row(
        s * g * i * (1 - i), s * before * f * (1 - f), s * i * (1 - g * g), 10.0 * t * o * (1 - o)
    )
    torch.testing.assert_close(g_gates, wanted)
    torch.testing.assert_close(g_cell, row(s * f))


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
def test_the_compiled_steps_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)

    def some(width: int) -> Tensor:
        return 2 * torch.randn(5, width, generator=generator)

    gates, before, g_out, g_cell = some(12), some(3), some(3), some(3)
    answers: list[list[Tensor]] = []
    for step, back in ((_torch_step, _torch_back), (_compiled_step, _compiled_back)):
        a, c = gates.clone(), g_cell.clone()
        cell, tanh_cell, out = torch.empty(5, 3), torch.empty(5, 3), torch.empty(5, 3)
        step(a, before, cell, tanh_cell, out)
        g_gates = torch.empty(5, 12)
        back(a, before, tanh_cell, g_out, c, g_gates)
        answers.append([a, cell, tanh_cell, out, c, g_gates])
    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=3e-6)


def noted(layer: Any, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[Tensor]]:
    """Norms and sums of a layer whose loss is the sum of its outputs, without compiled loops."""
    monkeypatch.setenv(JIT_VARIABLE, "0")
    with keep_book(layer, loss_reduction="sum") as book:
        assert isinstance(book, Book)
        layer(x)[0].sum().backward()
        (norms,) = book.norms()
        return norms, book.clipped_sums(1e9)


def test_one_step_of_a_gru_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a state of zero, an output is (1 - z) n: only the gate z and n get a gradient."""
    layer = nn.GRU(1, 1, batch_first=True).double()
    with torch.no_grad():
        for parameter, values in zip(
            layer.parameters(), ([0.5, -1.0, 2.0], [7.0] * 3, [0.0] * 3, [0.0] * 3), strict=True
        ):
            parameter.copy_(torch.tensor(values).view(parameter.shape))
    x = 0.4
    norms, (w_ih, w_hh, b_ih, b_hh) = noted(layer, row(x).view(1, 1, 1), monkeypatch)
    r, z, n = sigmoid(0.5 * x), sigmoid(-x), tanh(2 * x)
    of_z, of_n = -n * z * (1 - z), (1 - z) * (1 - n * n)
    torch.testing.assert_close(w_ih.flatten(), row(0.0, of_z * x, of_n * x)[0])
    torch.testing.assert_close(b_ih, row(0.0, of_z, of_n)[0])
    torch.testing.assert_close(b_hh, row(0.0, of_z, of_n * r)[0])
    assert w_hh.abs().sum() == 0
    square = (1 + x * x) * (of_z**2 + of_n**2) + of_z**2 + (of_n * r) ** 2
    torch.testing.assert_close(norms, row(square**0.5)[0])


def test_one_step_of_an_lstm_notes_both_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.LSTM(1, 1, batch_first=True).double()
    norms, (w_ih, w_hh, b_ih, b_hh) = noted(layer, row(0.4).view(1, 1, 1), monkeypatch)
    assert torch.equal(b_ih, b_hh)
    assert b_ih.data_ptr() != b_hh.data_ptr()  # a step that works in place must not work twice
    torch.testing.assert_close(w_ih.flatten(), 0.4 * b_ih)
    assert w_hh.abs().sum() == 0
    square = (2 + 0.4**2) * float(b_ih.square().sum())
    torch.testing.assert_close(norms, row(square**0.5)[0])
