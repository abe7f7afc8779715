"""Linear and Embedding: sums as in a loop over units, and a few by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common.dense_rules import linear_note, summed
from fedward.common.errors import ModelError
from fedward.common.gram import gram_is_cheaper
from fedward.common.notes import Weights
from fedward.common.private_layers import keep_book

Check = Callable[..., None]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def made(layer: nn.Module, seed: int = 0) -> Any:
    """The layer in float64, with weights of its own seed."""
    layer.double()
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.7 * drawn(*parameter.shape, seed=seed + number))
    return layer


def test_the_note_of_one_linear_layer_by_hand() -> None:
    layer = nn.Linear(2, 1)
    x, g = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[2.0], [-1.0]])
    note = linear_note(x, g, layer.weight, layer.bias, 1)
    assert note.squared_norms.tolist() == [(25 + 1) * 4, (1 + 1) * 1]
    rows = torch.tensor([1.0, 10.0])
    (weight, of_weight), (bias, of_bias) = note.sums(Weights(rows, rows), *note.held)
    assert weight is layer.weight
    assert bias is layer.bias
    assert of_weight.tolist() == [[6.0, 8.0 - 10.0]]
    assert of_bias.tolist() == [2.0 - 10.0]


def test_two_rows_that_are_one_unit_by_hand() -> None:
    layer = nn.Linear(2, 1, bias=False)
    x, g = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([[2.0], [-1.0]])
    note = linear_note(x, g, layer.weight, None, 2)
    torch.testing.assert_close(note.squared_norms, torch.tensor([36.0 + 49.0]), rtol=1e-4, atol=0)


def test_a_weighted_sum_by_hand() -> None:
    weights = Weights(torch.tensor([2.0, -1.0]), torch.tensor([2.0, -1.0]))
    formed = torch.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])
    assert summed(weights, formed).tolist() == [[-1.0, -1.0]]


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("between", [(), (2,), (12,), (2, 3), (4, 5)])
def test_linear(
    between: tuple[int, ...], bias: bool, unit_size: int, loss_reduction: str, sums_agree: Check
) -> None:
    layer = made(nn.Linear(3, 4, bias=bias))
    x = drawn(12, *between, 3, seed=9)
    sums_agree(layer, x, unit_size=unit_size, loss_reduction=loss_reduction)


def test_both_ways_of_linear_are_among_these() -> None:
    assert gram_is_cheaper(2, 3, 4)
    assert not gram_is_cheaper(12, 3, 4)


def test_linear_of_inputs_that_are_no_contiguous_array(sums_agree: Check) -> None:
    sums_agree(made(nn.Linear(3, 4)), drawn(3, 5, 8, seed=1).permute(2, 1, 0), unit_size=2)


INDICES = [torch.tensor([1, 1, 0, 3, 2, 4, 4, 0]), torch.arange(48).view(8, 6) % 5]


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("padding", [None, 0, -2])
@pytest.mark.parametrize("indices", [*INDICES, INDICES[1].square().view(8, 2, 3) % 5])
def test_embedding(
    indices: Tensor, padding: int | None, unit_size: int, loss_reduction: str, sums_agree: Check
) -> None:
    layer = made(nn.Embedding(5, 3, padding_idx=padding))
    sums_agree(layer, indices, unit_size=unit_size, loss_reduction=loss_reduction)


def test_padding_is_not_trained(by_book: Callable[..., list[Tensor]]) -> None:
    layer = made(nn.Embedding(5, 3, padding_idx=4))
    (got,) = by_book(layer, torch.tensor([[4, 1], [4, 4]]), 1.0)
    assert got[4].tolist() == [0, 0, 0]
    assert got[1].abs().sum() > 0


@given(
    between=st.lists(st.integers(1, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    bias=st.booleans(),
    unit_size=st.integers(1, 3),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=25)
def test_two_linear_layers_of_any_size(
    sums_agree: Check,
    between: list[int],
    sizes: tuple[int, int],
    bias: bool,
    unit_size: int,
    seed: int,
) -> None:
    inner, outer = sizes
    first, last = nn.Linear(3, inner, bias=bias), nn.Linear(inner, outer, bias=not bias)
    model = made(nn.Sequential(first, nn.Tanh(), last), seed)
    sums_agree(model, drawn(3 * unit_size, *between, 3, seed=seed), unit_size=unit_size)


class Level(nn.Module):
    """Differences of what a layer makes of neighbouring places: its gradients nearly cancel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        places: Tensor = 1e-3 * self.layer(x)
        return places[:, :-1] - places[:, 1:] * (1 - 1e-5)


def test_gradients_that_cancel_are_right_to_ten_digits(sums_agree: Check) -> None:
    same = 1 + 1e-5 * drawn(6, 3, 8, seed=1)
    assert gram_is_cheaper(3, 8, 9)
    sums_agree(Level(made(nn.Linear(8, 9))), same)
    words = torch.tensor([[1, 1], [2, 2], [0, 1], [3, 3]])
    sums_agree(Level(made(nn.Embedding(5, 3))), words)
    sums_agree(Level(made(nn.Embedding(5, 3))), words, unit_size=2)


@pytest.mark.parametrize("option", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_embeddings_that_mix_examples_are_refused(option: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Embedding(5, 3, **option))
    with (
        pytest.raises(ModelError, match=rf"layer 1: .* {next(iter(option))} .*drop it"),
        keep_book(model),
    ):
        pass
    assert "forward" not in vars(model[0])


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("shape", [(0, 3), (0, 5, 3), (0, 20, 3)])
def test_no_rows_are_a_sum_of_zero(
    shape: tuple[int, ...], unit_size: int, by_book: Callable[..., list[Tensor]]
) -> None:
    got = by_book(made(nn.Linear(3, 4)), torch.zeros(shape).double(), 1.0, unit_size=unit_size)
    assert [float(each.abs().sum()) for each in got] == [0, 0]


@pytest.mark.parametrize("unit_size", [1, 4])
def test_no_indices_are_a_sum_of_zero(unit_size: int, by_book: Callable[..., list[Tensor]]) -> None:
    none = torch.zeros(0, 6, dtype=torch.long)
    (got,) = by_book(made(nn.Embedding(5, 3)), none, 1.0, unit_size=unit_size)
    assert got.tolist() == torch.zeros(5, 3).tolist()


def test_indices_changed_before_the_backward_pass_are_noticed(
    losses_of: Callable[[Tensor], Tensor],
) -> None:
    layer, indices = made(nn.Embedding(5, 3)), torch.tensor([[0, 1]])
    with keep_book(layer):
        loss = losses_of(layer(indices)).sum()
        indices += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
