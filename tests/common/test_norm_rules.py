"""GroupNorm and LayerNorm: sums as in a loop over units, compiled and not."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common.errors import ModelError
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE
from fedward.common.norm_rules import _affine_note
from fedward.common.notes import Weights
from fedward.common.private_layers import keep_book

Check = Callable[..., None]
LAST = torch.channels_last


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def made(layer: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    layer.to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.7 * drawn(*parameter.shape, seed=seed + number, dtype=dtype))
    return layer


def test_the_note_of_a_scale_and_a_shift_by_hand() -> None:
    layer = nn.LayerNorm(2)
    note = _affine_note(
        torch.tensor([[1.0, 2.0], [0.0, 3.0]]),
        torch.tensor([[2.0, 0.0], [1.0, 1.0]]),
        layer.weight,
        layer.bias,
        1,
    )
    assert note.squared_norms.tolist() == [9.0, 11.0]
    rows = torch.tensor([1.0, 10.0])
    sums = [(p, total.tolist()) for p, total in note.sums(Weights(rows, rows), *note.held)]
    assert sums == [(layer.weight, [1.0, 32.0]), (layer.bias, [12.0, 10.0])]


def test_two_rows_of_one_unit_are_added_first() -> None:
    layer = nn.LayerNorm(2, bias=False)
    gradients = torch.tensor([[1.0, 2.0], [0.0, -3.0]])
    note = _affine_note(gradients, gradients, layer.weight, None, 2)
    assert note.squared_norms.tolist() == [2.0]


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize(
    ("groups", "shape"),
    [
        *product((1, 3), [(6,), (6, 1, 1)]),
        *product((1, 3, 6), [(6, 5), (6, 3, 4), (6, 2, 3, 2)]),
    ],
)
def test_group_norm(
    groups: int, shape: tuple[int, ...], unit_size: int, loss_reduction: str, sums_agree: Check
) -> None:
    layer, x = made(nn.GroupNorm(groups, 6)), drawn(8, *shape, seed=9)
    sums_agree(layer, x, unit_size=unit_size, loss_reduction=loss_reduction)
    if len(shape) == 3:
        x = x.contiguous(memory_format=LAST)
        sums_agree(layer, x, unit_size=unit_size, loss_reduction=loss_reduction)


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("shape", "normalized"), [((5,), 1), ((3, 5), 1), ((3, 2, 5), 1), ((3, 5), 2)]
)
def test_layer_norm(
    shape: tuple[int, ...],
    normalized: int,
    bias: bool,
    unit_size: int,
    loss_reduction: str,
    sums_agree: Check,
) -> None:
    layer = made(nn.LayerNorm(shape[-normalized:], bias=bias))
    x = drawn(8, *shape, seed=9)
    sums_agree(layer, x, unit_size=unit_size, loss_reduction=loss_reduction)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(2, 5)),
    groups=st.integers(1, 3),
    width=st.integers(1, 3),
    last=st.booleans(),
    unit_size=st.integers(1, 3),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=30)
def test_group_norm_then_layer_norm_of_any_size(
    sums_agree: Check,
    shape: tuple[int, int, int],
    groups: int,
    width: int,
    last: bool,
    unit_size: int,
    seed: int,
) -> None:
    units, *sides = shape
    model = made(nn.Sequential(nn.GroupNorm(groups, groups * width), nn.LayerNorm(sides[1])), seed)
    x = drawn(units * unit_size, groups * width, *sides, seed=seed)
    sums_agree(model, x.contiguous(memory_format=LAST) if last else x, unit_size=unit_size)


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
@pytest.mark.parametrize("offset", [0.0, 10.0])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_compiled_loop_gives_the_same_in_float32(
    groups: int,
    offset: float,
    by_book: Callable[..., list[Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norm = made(nn.GroupNorm(groups, 8), dtype=torch.float32)
    answers = []
    for jit in ("1", "0"):
        monkeypatch.setenv(JIT_VARIABLE, jit)
        x = drawn(6, 8, 5, 7, seed=9, dtype=torch.float32) + offset
        x = x.contiguous(memory_format=LAST).requires_grad_()
        sums = by_book(norm, x, 1.0)
        assert x.grad is not None
        answers.append([*sums, x.grad])
    within = 4e-6 * (1 + offset)  # digits that the mean takes
    for one, other in zip(*answers, strict=True):
        assert float((one - other).norm()) <= within * float(other.norm())


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.GroupNorm(2, 6), (0, 6, 3, 3)),
        (nn.GroupNorm(2, 6), (0, 6)),
        (nn.LayerNorm(6), (0, 6)),
        (nn.LayerNorm(6), (0, 3, 6)),
    ],
)
def test_no_rows_are_a_sum_of_zero(
    layer: nn.Module,
    shape: tuple[int, ...],
    unit_size: int,
    by_book: Callable[..., list[Tensor]],
) -> None:
    got = by_book(layer, torch.zeros(shape), 1.0, unit_size=unit_size)
    assert [each.tolist() for each in got] == [[0.0] * 6] * 2


def test_layer_norm_over_examples_is_refused() -> None:
    model = nn.Sequential(nn.LayerNorm((4, 3)))
    with keep_book(model), pytest.raises(ModelError, match="layer 0 mixes examples: leave their"):
        model(torch.ones(4, 3))
