"""Norms by Gram matrices: small ones by hand, and that no cancellation makes them too short."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedward.common.gram import (
    COARSE,
    SUMMING,
    CancelledError,
    by_unit,
    gram_is_cheaper,
    gram_squared_norms,
    squared_norms_of,
)

ROUNDING = 2.0**-24  # of one float32 operation
SEEDS = st.integers(0, 2**30)


def exact(inputs: Tensor, outputs: Tensor, constant: float = 0.0) -> Tensor:
    """Squared norms in float64, of gradients that are formed."""
    inputs, outputs = inputs.double(), outputs.double()
    formed = torch.bmm(outputs.transpose(1, 2), inputs)
    return formed.square().sum((1, 2)) + constant * outputs.sum(1).square().sum(1)


def naive(inputs: Tensor, outputs: Tensor) -> Tensor:
    of_inputs = torch.bmm(inputs, inputs.transpose(1, 2))
    return (of_inputs * torch.bmm(outputs, outputs.transpose(1, 2))).sum((1, 2))


def largest(inputs: Tensor, outputs: Tensor, constant: float = 0.0) -> Tensor:
    """What squared norms would be if nothing cancelled."""
    inputs, outputs = inputs.double(), outputs.double()
    lengths = (inputs.square().sum(2) + constant).sqrt()
    return (lengths * outputs.norm(dim=2)).sum(1).square()


def test_two_places_by_hand() -> None:
    inputs = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]]).double()
    outputs = torch.tensor([[[1.0], [2.0]]]).double()  # their gradient is (1 + 6, 2 - 2)
    torch.testing.assert_close(gram_squared_norms(inputs, outputs), torch.tensor([49.0]).double())
    with_bias = gram_squared_norms(inputs, outputs, constant=1.0)
    torch.testing.assert_close(with_bias, torch.tensor([49.0 + 9.0]).double())


def test_inputs_minus_their_mean_by_hand() -> None:
    gram = torch.tensor([[[5.0, 1.0], [1.0, 10.0]]]).double()  # of (1, 2) and (3, -1)
    outputs = torch.tensor([[[1.0], [2.0]]]).double()
    sums = torch.tensor([[3.0, 2.0]]).double()
    got = squared_norms_of(gram, outputs, terms=2, sums=sums)  # (-0.5, 0.5) + 2 (2, -2)
    torch.testing.assert_close(got, torch.tensor([2 * 3.5**2]).double())


def test_rows_of_a_unit_follow_each_other() -> None:
    rows = torch.arange(8.0).view(4, 1, 2)
    assert by_unit(rows, 2).tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert by_unit(torch.zeros(4, 3, 5, 2), 2).shape == (2, 30, 2)
    assert by_unit(torch.zeros(0, 3, 2), 4).shape == (0, 12, 2)


def test_few_places_and_large_gradients_go_by_gram() -> None:
    assert gram_is_cheaper(1, 1, 1)
    assert gram_is_cheaper(36, 1000, 1000)
    assert not gram_is_cheaper(1000, 8, 8)


@given(
    places=st.integers(1, 24),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    constant=st.sampled_from([0.0, 1.0, 2.0]),
    seed=SEEDS,
)
@settings(max_examples=60)
def test_norms_in_float64(
    places: int, inputs: int, outputs: int, constant: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(3, places, inputs, generator=generator, dtype=torch.float64)
    g = torch.randn(3, places, outputs, generator=generator, dtype=torch.float64)
    wanted = exact(a, g, constant)
    try:
        got = gram_squared_norms(a, g, constant=constant)
    except CancelledError:
        slack = (inputs + outputs + SUMMING) * torch.finfo(torch.float64).eps / 2
        assert bool((slack * largest(a, g, constant) > 0.99 * COARSE * wanted).any())
    else:
        torch.testing.assert_close(got, wanted, rtol=2 * COARSE, atol=0)


def test_what_cancels_is_not_measured_in_float64() -> None:
    """Lengths that come to 1000 of the norm: 10^6 of its square, which roundings are a part of."""
    a, g = torch.ones(2, 2, 1).double(), torch.ones(2, 2, 1).double()
    g[1, 1] = -1 + 2e-3
    with pytest.raises(CancelledError):
        gram_squared_norms(a, g)
    assert bool((gram_squared_norms(a.float(), g.float()).double() > exact(a, g)).all())
    g[1, 1] = -0.9
    torch.testing.assert_close(gram_squared_norms(a, g), exact(a, g), rtol=COARSE, atol=0)
    assert gram_squared_norms(a, 0 * g).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e200])
def test_what_is_not_finite_in_float64_stays_so(bad: float) -> None:
    a = torch.ones(1, 2, 3).double()
    a[0, 1, 2] = bad
    assert not torch.isfinite(gram_squared_norms(a, a)).any()


def crafted(places: int, inputs: int, outputs: int, spread: float, seed: int) -> list[Tensor]:
    """Places that see almost the same, with gradients that almost cancel."""
    generator = torch.Generator().manual_seed(seed)
    same = torch.rand(4, 1, inputs, generator=generator) + 0.5
    a = same + spread * torch.randn(4, places, inputs, generator=generator)
    g = torch.randn(4, 1, outputs, generator=generator).repeat(1, places, 1)
    g[:, 1::2] *= -1
    return [a, g + spread * torch.randn(4, places, outputs, generator=generator)]


def test_the_attack_on_gram_matrices_fails() -> None:
    """The naive sum loses the norm altogether, which would leave such an image unclipped."""
    a, g = crafted(64, 512, 64, 1e-5, seed=3)
    shorter = naive(a, g).double() / exact(a, g)
    assert float(shorter.min()) < 0.1
    assert bool((gram_squared_norms(a, g).double() >= exact(a, g)).all())


@given(
    places=st.integers(1, 40),
    inputs=st.integers(1, 200),
    outputs=st.integers(1, 60),
    digits=st.floats(0, 8),
    seed=SEEDS,
)
@settings(max_examples=150)
def test_norms_are_never_too_short(
    places: int, inputs: int, outputs: int, digits: float, seed: int
) -> None:
    a, g = crafted(places, inputs, outputs, 10**-digits, seed)
    got, true = gram_squared_norms(a, g).double(), exact(a, g)
    assert bool((got >= true).all())
    slack = (inputs + outputs + SUMMING) * ROUNDING * largest(a, g)
    assert bool((got <= true + 2.01 * slack).all())


@given(value=st.floats(0.001, 1000), places=st.integers(1, 40), inputs=st.integers(1, 200))
@settings(max_examples=60)
def test_norms_of_equal_values_are_never_too_short(value: float, places: int, inputs: int) -> None:
    a, g = torch.full((1, places, inputs), value), torch.full((1, places, 3), value)
    assert bool((gram_squared_norms(a, g).double() >= exact(a, g)).all())
    g[:, 1::2] *= -1
    assert bool((gram_squared_norms(a, g).double() >= exact(a, g)).all())


def test_what_is_not_finite_stays_so() -> None:
    a, g = torch.ones(3, 2, 4), torch.ones(3, 2, 4)
    a[0, 0, 0], a[1, 1, 1], a[2] = torch.nan, torch.inf, 1e25
    assert not torch.isfinite(gram_squared_norms(a, g)).any()
