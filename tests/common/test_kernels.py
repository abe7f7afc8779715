"""Compiled loops against torch's own operations, and by hand."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common import kernels

needs_numba = pytest.mark.skipif(not kernels.HAVE_NUMBA, reason="nothing is compiled without numba")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.numpy() for tensor in tensors]


@needs_numba
def test_what_compiled_loops_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    single, double = torch.ones(2), torch.ones(2).double()
    monkeypatch.delenv(kernels.JIT_VARIABLE, raising=False)
    assert kernels.compiled_for(single)
    assert not kernels.compiled_for(single, double)
    assert not kernels.compiled_for(torch.ones(2, device="meta"))
    monkeypatch.setenv(kernels.JIT_VARIABLE, "0")
    assert not kernels.compiled_for(single)
    monkeypatch.setenv(kernels.JIT_VARIABLE, "1")
    assert kernels.compiled_for(single)


def test_without_numba_torch_does_it_all() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch\n"
        "from fedward.common import kernels\n"
        "from fedward.common.models import build\n"
        "from fedward.common.private_layers import keep_book\n"
        "assert not kernels.HAVE_NUMBA and not kernels.compiled_for(torch.ones(1))\n"
        "model = build('cnn-lstm', seed=0)\n"
        "with keep_book(model) as book:\n"
        "    model(torch.ones(2, 1, 48, 48)).logsumexp(1).mean().backward()\n"
        "    print(sum(float(each.abs().sum()) for each in book.clipped_sums(1.0)) > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def through_a_step(x: Tensor) -> tuple[Tensor, Tensor]:
    """tanh and sigmoid as the LSTM's step computes them: gates (n, 4) of one hidden unit each."""
    gates = torch.stack([x, x, x, x], 1)
    empty = [torch.empty(len(x), 1) for _ in range(3)]
    kernels.lstm_step(*arrays(gates, torch.zeros(len(x), 1), *empty))
    assert torch.equal(gates[:, 0], gates[:, 3])
    return gates[:, 2], gates[:, 0]


@needs_numba
def test_tanh_and_sigmoid_of_a_step() -> None:
    x = torch.linspace(-12, 12, 100_001)
    tanh, sigmoid = through_a_step(x)
    assert float((tanh.double() - x.double().tanh()).abs().max()) <= 5e-7
    assert float((sigmoid.double() - x.double().sigmoid()).abs().max()) <= 5e-7
    assert float(tanh.abs().max()) <= 1 + 1e-6
    assert float(sigmoid.min()) >= -1e-6


@needs_numba
def test_tanh_is_odd_and_saturates() -> None:
    x = torch.tensor([0.0, 1e-30, 1e-6, 0.5, 3.0, 1e4, 1e30, torch.inf])
    up, _ = through_a_step(x)
    down, _ = through_a_step(-x)
    assert torch.equal(up, -down)
    torch.testing.assert_close(up, x.tanh(), rtol=1e-6, atol=0)


@needs_numba
@given(values=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=64))
@settings(max_examples=40)
def test_a_whole_step_against_torchs_cell(values: list[float]) -> None:
    size = len(values)
    cell = nn.LSTMCell(1, size)
    gates = torch.tensor([values, values[::-1], values, values[::-1]]).view(1, -1)
    before = drawn(1, size)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih.copy_(gates[0])
        hidden, state = cell(torch.zeros(1, 1), (torch.zeros(1, size), before))
    own = [torch.empty(1, size) for _ in range(3)]
    kernels.lstm_step(*arrays(gates, before, *own))
    torch.testing.assert_close(own[0], state, rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(own[2], hidden, rtol=1e-6, atol=2e-6)


@needs_numba
def test_a_step_back_against_autograd() -> None:
    into, before = drawn(5, 28).double().requires_grad_(), drawn(5, 7, seed=1).double()
    before.requires_grad_()
    i, f, g, o = into.chunk(4, 1)
    cells = f.sigmoid() * before + i.sigmoid() * g.tanh()
    g_out, g_cell = drawn(5, 7, seed=2), drawn(5, 7, seed=3)
    out = o.sigmoid() * cells.tanh()
    wanted = torch.autograd.grad([out, cells], [into, before], [g_out.double(), g_cell.double()])
    gates = torch.cat([i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()], 1).detach().float()
    tanh_cell, g_gates = cells.detach().tanh().float(), torch.empty(5, 28)
    single = before.detach().float()
    kernels.lstm_step_back(*arrays(gates, single, tanh_cell, g_out, g_cell, g_gates))
    torch.testing.assert_close(g_gates.double(), wanted[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(g_cell.double(), wanted[1], rtol=1e-5, atol=1e-6)


@needs_numba
@given(
    rows=st.integers(1, 3),
    places=st.integers(2, 20),
    groups=st.integers(1, 4),
    width=st.integers(1, 5),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=40)
def test_group_norm_back_against_autograd(
    rows: int, places: int, groups: int, width: int, seed: int
) -> None:
    channels = groups * width
    x, g = drawn(rows, places, channels, seed=seed), drawn(rows, places, channels, seed=seed + 1)
    weight = drawn(channels, seed=seed + 2)
    maps = x.double().transpose(1, 2).requires_grad_()
    each = weight.double().expand(rows, channels).clone().requires_grad_()
    shift = torch.zeros_like(each).requires_grad_()
    grouped = maps.reshape(rows, groups, -1)
    spread, mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)
    rstd = (spread + 1e-5).rsqrt()
    normal = ((grouped - mean) * rstd).view(rows, channels, places)
    y = normal * each.unsqueeze(2) + shift.unsqueeze(2)
    wanted = torch.autograd.grad(y, [maps, each, shift], g.double().transpose(1, 2))
    own = torch.empty_like(x), torch.empty(rows, channels), torch.empty(rows, channels)
    known = mean.detach().float().view(rows, groups), rstd.detach().float().view(rows, groups)
    kernels.group_norm_back(*arrays(g, x, *known, weight, *own))
    assume(float(spread.detach().min()) > 1e-2)
    for one, other in zip(own, (wanted[0].transpose(1, 2), *wanted[1:]), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=2e-4, atol=2e-4)


def test_the_gram_matrix_of_patches_by_hand() -> None:
    """An image (a, b, c, d) of one row, and a kernel of two: patches (a, b), (b, c), (c, d)."""
    a, b, c, d = 1.0, 2.0, -1.0, 3.0
    row = torch.tensor([a, b, c, d])
    pixels = torch.outer(row, row).view(1, 1, 1, 4, 1, 1, 4)
    patches = torch.zeros(1, 1, 1, 3, 1, 1, 3)
    _plain(kernels.patch_gram)(*arrays(pixels, patches), 1, 2, 1, 1, 1, 1)
    seen = torch.tensor([[a, b], [b, c], [c, d]])
    assert torch.equal(patches.view(3, 3), seen @ seen.T)


def test_patches_by_hand() -> None:
    maps = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).view(1, 2, 3)
    patches = torch.full((1, 2, 2, 4), torch.nan)
    _plain(kernels.gather_patches)(*arrays(maps, patches), 1, 2, 2, 1, 2, 0, 1, 1, 1)
    assert patches[0, 0].tolist() == [[0, 1, 0, 4], [2, 3, 5, 6]]
    assert patches[0, 1].tolist() == [[0, 4, 0, 0], [5, 6, 0, 0]]


def _plain(function: Any) -> Any:
    """The loop itself, as Python."""
    return getattr(function, "py_func", function)


Shape = tuple[int, int]
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
SIDES = st.tuples(st.integers(1, 8), st.integers(1, 8))
EDGES = st.tuples(st.integers(0, 3), st.integers(0, 3))


def unfolded(x: Tensor, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape) -> Tensor:
    """Patches (n, places, kernel height x kernel width x c) by torch."""
    columns = F.unfold(x, kernel, dilation, padding, stride)
    n, _, places = columns.shape
    apart = columns.view(n, x.shape[1], kernel[0] * kernel[1], places)
    return apart.permute(0, 3, 2, 1).reshape(n, places, -1)


def out_sides(sides: Shape, kernel: Shape, dilation: Shape, padding: Shape, stride: Shape) -> Shape:
    down, right = (
        (side + 2 * pad - dil * (k - 1) - 1) // step + 1
        for side, k, dil, pad, step in zip(sides, kernel, dilation, padding, stride, strict=True)
    )
    assume(down > 0)
    assume(right > 0)
    return down, right


@needs_numba
@given(
    rows=st.integers(0, 3),
    channels=st.integers(1, 4),
    sides=SIDES,
    kernel=PAIRS,
    stride=PAIRS,
    dilation=PAIRS,
    padding=EDGES,
)
@settings(max_examples=150)
def test_patches_are_torchs(
    rows: int,
    channels: int,
    sides: Shape,
    kernel: Shape,
    stride: Shape,
    dilation: Shape,
    padding: Shape,
) -> None:
    out = out_sides(sides, kernel, dilation, padding, stride)
    x = drawn(rows, channels, *sides)
    maps = x.permute(0, 2, 3, 1).contiguous().flatten(2)
    patches = torch.full((rows, *out, kernel[0] * kernel[1] * channels), torch.nan)
    options = (channels, *kernel, *stride, *padding, *dilation)
    kernels.gather_patches(*arrays(maps, patches), *options)
    if rows == 0:
        return
    assert torch.equal(patches.flatten(1, 2), unfolded(x, kernel, dilation, padding, stride))


@needs_numba
@given(
    units=st.integers(1, 2),
    unit_size=st.integers(1, 2),
    channels=st.integers(1, 3),
    sides=SIDES,
    kernel=PAIRS,
    stride=PAIRS,
    dilation=PAIRS,
)
@settings(max_examples=80)
def test_gram_matrices_of_patches_are_those_of_pixels_shifted(
    units: int,
    unit_size: int,
    channels: int,
    sides: Shape,
    kernel: Shape,
    stride: Shape,
    dilation: Shape,
) -> None:
    out = out_sides(sides, kernel, dilation, (0, 0), stride)
    x = drawn(units * unit_size, channels, *sides)
    flat = x.permute(0, 2, 3, 1).reshape(units, -1, channels)
    pixels = torch.bmm(flat, flat.transpose(1, 2)).view(units, *(unit_size, *sides) * 2)
    patches = torch.zeros(units, *(unit_size, *out) * 2)
    kernels.patch_gram(*arrays(pixels, patches), *kernel, *stride, *dilation)
    seen = unfolded(x, kernel, dilation, (0, 0), stride).reshape(
        units, unit_size * out[0] * out[1], -1
    )
    wanted = torch.bmm(seen, seen.transpose(1, 2))
    torch.testing.assert_close(patches.view(wanted.shape), wanted, rtol=1e-5, atol=1e-5)
