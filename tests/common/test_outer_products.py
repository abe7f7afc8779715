"""Notes of weights that are used at every step: by hand, by Gram matrices and formed."""

import pytest
import torch
from torch import Tensor, nn

from fedward.common.gram import gram_is_cheaper
from fedward.common.notes import Weights
from fedward.common.outer_products import Product, note_of

ONE = torch.ones(1, dtype=torch.float64)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def weight(outputs: int, inputs: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(outputs, inputs, dtype=torch.float64))


def test_two_steps_by_hand() -> None:
    inputs = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]]).double()  # (t, n, d)
    outputs = torch.tensor([[[1.0]], [[2.0]]]).double()
    left, right = weight(1, 1), weight(1, 1)
    first, second = nn.Parameter(ONE.clone()), nn.Parameter(ONE.clone())
    note = Product(inputs, outputs, (left, right), (first, second)).note(1)
    torch.testing.assert_close(note.squared_norms, 49 * ONE + 2 * 9)
    sums = list(note.sums(Weights(2 * ONE, 2 * ONE), *note.held))
    assert [parameter for parameter, _ in sums] == [left, right, first, second]
    assert [float(total) for _, total in sums] == [14.0, 0.0, 6.0, 6.0]


@pytest.mark.parametrize("unit_size", [1, 3])
@pytest.mark.parametrize("biases", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 3, 30])
def test_products_of_any_length(steps: int, biases: int, unit_size: int) -> None:
    rows, inputs, outputs = 6, drawn(steps, 6, 5), drawn(steps, 6, 4, seed=1)
    parts = weight(4, 2), weight(4, 3)
    shifts = tuple(nn.Parameter(torch.zeros(4).double()) for _ in range(biases))
    note = Product(inputs, outputs, parts, (*shifts, None)).note(unit_size)
    units = rows // unit_size
    formed = torch.einsum(
        "tuko,tukd->uod", *(x.unflatten(1, (units, -1)) for x in (outputs, inputs))
    )
    of_bias = outputs.sum(0).unflatten(0, (units, -1)).sum(1)
    squared = formed.square().sum((1, 2)) + biases * of_bias.square().sum(1)
    torch.testing.assert_close(note.squared_norms, squared, rtol=1e-10, atol=0)
    each = drawn(units, seed=2)
    sums = list(note.sums(Weights(each, each.repeat_interleave(unit_size)), *note.held))
    total = torch.einsum("u,uod->od", each, formed)
    for (parameter, got), wanted in zip(sums, [total[:, :2], total[:, 2:]], strict=False):
        assert parameter.shape == got.shape
        torch.testing.assert_close(got, wanted)
    assert len(sums) == 2 + biases
    for _, got in sums[2:]:
        torch.testing.assert_close(got, each @ of_bias)


def test_what_cancels_is_formed() -> None:
    """A gradient of 2^-10 (1, 1) out of two of (1, 1): few steps, which Gram matrices are for."""
    inputs = torch.ones(2, 1, 2).double()
    outputs = torch.tensor([[[1.0]], [[2**-10 - 1]]]).double()
    assert gram_is_cheaper(2, 2, 1)
    of, shift = weight(1, 2), nn.Parameter(torch.zeros(1).double())
    note = Product(inputs, outputs, (of,), (shift,)).note(1)
    torch.testing.assert_close(note.squared_norms, 3 * 2.0**-20 * ONE, rtol=1e-14, atol=0)
    (_, total), (_, of_bias) = note.sums(Weights(8 * ONE, 8 * ONE), *note.held)
    assert total.tolist() == [[2.0**-7, 2.0**-7]]
    assert of_bias.tolist() == [2.0**-7]


def test_both_ways_are_among_these() -> None:
    assert gram_is_cheaper(3, 5, 4)
    assert not gram_is_cheaper(30, 5, 4)


def test_two_products_are_one_note() -> None:
    products = [
        Product(drawn(2, 3, 2, seed=k), drawn(2, 3, 4, seed=9), (weight(4, 2),), (None,))
        for k in range(2)
    ]
    both, apart = note_of(products, 1), [product.note(1) for product in products]
    torch.testing.assert_close(both.squared_norms, sum(n.squared_norms for n in apart))
    rows = Weights(drawn(3), drawn(3))
    wanted = [total for n in apart for _, total in n.sums(rows, *n.held)]
    got = [total for _, total in both.sums(rows, *both.held)]
    for one, other in zip(got, wanted, strict=True):
        assert torch.equal(one, other)
    assert note_of(products[:1], 1).squared_norms.equal(apart[0].squared_norms)


def test_no_rows_have_no_norms() -> None:
    note = Product(drawn(5, 0, 2), drawn(5, 0, 4), (weight(4, 2),), (None,)).note(4)
    assert note.squared_norms.shape == (0,)
