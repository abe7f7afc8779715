"""Four ways to a convolution's norms and sums: by hand, against autograd, against each other."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedward.common.conv_gradients import (
    Way,
    cheapest,
    form_patchwise,
    form_singly,
    norms_by_gram,
)
from fedward.common.conv_use import Geometry, Use, centre
from fedward.common.gram import SUMMING, CancelledError
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE

PLAIN = Geometry((1, 1), (0, 0), (1, 1), 1, centred=False)
MARGIN = 1e-5  # of a norm, which clipping takes off anyway (common/bookkeeping.py)


def squared_norms(use: Use, way: Way) -> Tensor:
    """Of the kernel's gradient, in one of the four ways; formed where nearly all of it cancels."""
    if way in (Way.PIXELS, Way.PATCHES):
        with suppress(CancelledError):
            return norms_by_gram(use, by_pixels=way is Way.PIXELS, constant=0.0)
    return (form_patchwise(use) if way is Way.FORM else form_singly(use))[0]


def ways(use: Use) -> list[Way]:
    return list(Way) if use.geometry.groups == 1 else [Way.FORM, Way.SINGLY]


def units_by_autograd(use: Use) -> Tensor:
    """Gradients of the kernel (u, o, c, h, w) in float64."""
    geometry, found = use.geometry, []
    pairs = zip(use.x.split(use.unit_size), use.g.split(use.unit_size), strict=True)
    for x, g in pairs:
        kernel = use.kernel.detach().double().requires_grad_()
        used = centre(kernel) if geometry.centred else kernel
        y = F.conv2d(
            x.double(),
            used,
            None,
            geometry.stride,
            geometry.padding,
            geometry.dilation,
            geometry.groups,
        )
        found += torch.autograd.grad(y, [kernel], g.double())
    return torch.stack(found)


def uncancelled(use: Use) -> Tensor:
    """What squared norms (u,) would be if no two positions cancelled, in float64."""
    geometry = use.geometry
    how = (geometry.dilation, geometry.padding, geometry.stride)
    patches = F.unfold(use.x.double(), use.kernel.shape[2:], *how)  # type: ignore[arg-type]
    lengths = patches.norm(dim=1) * use.g.double().flatten(2).norm(dim=1)
    return lengths.view(use.units, -1).sum(1).square()


def one_position(centred: bool) -> Use:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]], [[[0.0, 1.0], [0.0, 0.0]]]]).double()
    g = torch.tensor([2.0, -1.0]).double().view(2, 1, 1, 1)
    geometry = Geometry((1, 1), (0, 0), (1, 1), 1, centred)
    return Use(x, g, torch.zeros(1, 1, 2, 2).double(), geometry, 1)


@pytest.mark.parametrize("way", Way)
def test_one_position_by_hand(way: Way) -> None:
    got = squared_norms(one_position(centred=False), way)
    torch.testing.assert_close(got, torch.tensor([4 * 50.0, 1.0]).double())


@pytest.mark.parametrize("way", Way)
def test_one_position_of_a_centred_kernel_by_hand(way: Way) -> None:
    got = squared_norms(one_position(centred=True), way)  # 2 (-2, -1, 0, 3) and (1, -3, 1, 1) / 4
    torch.testing.assert_close(got, torch.tensor([4 * 14.0, 0.75]).double())


@pytest.mark.parametrize("form", [form_patchwise, form_singly])
def test_a_weighted_sum_by_hand(form: Callable[[Use], Any]) -> None:
    _, summed = form(one_position(centred=False))
    got = summed(torch.tensor([0.5, 3.0]).double())
    assert got.tolist() == [[[[1.0, 2.0 - 3.0], [3.0, 6.0]]]]
    assert summed(torch.tensor([0.0, 1.0]).double()).tolist() == [[[[0.0, -1.0], [0.0, 0.0]]]]


def test_centred_kernels_have_no_mean() -> None:
    kernel = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert centre(kernel).tolist() == [[[[-2.0, -1.0], [0.0, 3.0]]]]


@st.composite
def uses(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Use:
    """Any small convolution, in either memory format."""
    small = st.integers(1, 2)
    groups, unit_size, units = draw(small), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 4))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    stride, dilation = (draw(small), draw(st.integers(1, 3))), (draw(small), draw(small))
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    sides = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    out = [
        (side + 2 * pad - dil * (k - 1) - 1) // step + 1
        for side, pad, dil, k, step in zip(sides, padding, dilation, kernel, stride, strict=True)
    ]
    assume(min(out) > 0)
    rows = units * unit_size
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**30)))
    x = torch.randn(rows, channels, *sides, generator=generator, dtype=dtype)
    g = torch.randn(rows, outputs, *out, generator=generator, dtype=dtype)
    if draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    if draw(st.booleans()):
        g = g.contiguous(memory_format=torch.channels_last)
    weights = torch.randn(outputs, channels // groups, *kernel, generator=generator, dtype=dtype)
    centred = groups == 1 and draw(st.booleans())
    return Use(x, g, weights, Geometry(stride, padding, dilation, groups, centred), unit_size)


@given(use=uses())
@settings(max_examples=80)
def test_all_ways_are_autograd_in_float64(use: Use) -> None:
    units = units_by_autograd(use)
    wanted = units.flatten(1).square().sum(1)
    scale = float(units.flatten(1).square().sum(1).max()) + 1.0
    for way in ways(use):
        torch.testing.assert_close(
            squared_norms(use, way), wanted, rtol=1e-10, atol=1e-10 * scale, msg=str(way)
        )
    weights = torch.linspace(-1, 2, use.units, dtype=torch.float64)
    for form in (form_patchwise, form_singly):
        got = form(use)[1](weights)
        total = torch.einsum("u,u...->...", weights, units)
        got = centre(got) if use.geometry.centred else got
        torch.testing.assert_close(got, total, rtol=1e-10, atol=1e-10 * scale)


@given(use=uses(torch.float32))
@settings(max_examples=60)
def test_no_way_is_too_short_in_float32(use: Use) -> None:
    wanted = units_by_autograd(use).flatten(1).square().sum(1)
    largest = use.x.double().norm() * use.g.double().norm()
    slack = (use.weights + len(use.kernel) + SUMMING) * 2.0**-24  # of norms by Gram matrices
    for way in ways(use):
        got = squared_norms(use, way).double()
        assert bool((got >= wanted * (1 - 2 * MARGIN) - 1e-12 * largest.square()).all()), way
        assert bool((got <= wanted + 2 * slack * uncancelled(use)).all()), way


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
@given(use=uses(torch.float32))
@settings(max_examples=60)
def test_compiled_loops_and_torch_agree(use: Use) -> None:
    for way in ways(use):
        answers = []
        for jit in ("1", "0"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(JIT_VARIABLE, jit)
                answers.append(squared_norms(use, way).sqrt())
        torch.testing.assert_close(*answers, rtol=3e-6, atol=3e-6 * float(answers[1].max()))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("way", Way)
def test_equal_pixels_do_not_hide_a_gradient(way: Way, centred: bool) -> None:
    """Sums of millions of equal numbers lose digits if they are added up one by one."""
    geometry = Geometry((1, 1), (1, 1), (1, 1), 1, centred)
    x, g = torch.full((2, 256, 4, 4), 1.003), torch.full((2, 512, 4, 4), 0.1)
    x[1, ::2] *= 1e-3
    use = Use(x, g, torch.ones(512, 256, 3, 3), geometry, 1)
    true = units_by_autograd(use).flatten(1).norm(dim=1)
    assert bool((squared_norms(use, way).double().sqrt() >= true * (1 - MARGIN)).all())


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("way", Way)
def test_gradients_that_cancel_are_not_too_short(way: Way, centred: bool) -> None:
    """Positions see nearly the same, and their gradients nearly add up to nothing."""
    generator = torch.Generator().manual_seed(5)
    geometry = Geometry((1, 1), (0, 0), (1, 1), 1, centred)
    x = torch.rand(8, 64, 1, 1, generator=generator).repeat(1, 1, 6, 6)
    x += 1e-5 * torch.randn(x.shape, generator=generator)
    g = torch.randn(8, 32, 1, 1, generator=generator).repeat(1, 1, 6, 6)
    g[:, :, :, ::2] *= -1
    use = Use(x, g, torch.ones(32, 64, 1, 1), geometry, 1)
    true = units_by_autograd(use).flatten(1).norm(dim=1)
    got = squared_norms(use, way).double().sqrt()
    formed = form_patchwise(use)[1]
    for unit in range(8):  # what is summed in float32 has roundings of its own
        one = torch.zeros(8)
        one[unit] = 1
        summed = centre(formed(one)) if centred else formed(one)
        assert float(got[unit]) >= float(summed.double().norm()) * (1 - MARGIN)
    if way in (Way.PIXELS, Way.PATCHES):
        assert bool((got >= true).all())


@pytest.mark.parametrize("spread", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("way", Way)
def test_nearly_equal_weights_of_a_centred_kernel_are_not_too_short(
    way: Way, spread: float
) -> None:
    """Nearly all of the gradient is its mean, which centring takes away."""
    generator = torch.Generator().manual_seed(7)
    geometry = Geometry((1, 1), (0, 0), (1, 1), 1, centred=True)
    x = 1 + spread * torch.randn(16, 9, 4, 4, generator=generator)
    g = torch.rand(16, 5, 2, 2, generator=generator)
    use = Use(x, g, torch.ones(5, 9, 3, 3), geometry, 1)
    got = squared_norms(use, way).double().sqrt()
    form = form_singly if way is Way.SINGLY else form_patchwise
    for unit, one in enumerate(torch.eye(16)):
        summed = centre(form(use)[1](one))
        assert float(got[unit]) >= float(summed.double().norm()) * (1 - MARGIN)
    true = units_by_autograd(use).flatten(1).norm(dim=1)
    assert bool((got >= true * (1 - MARGIN)).all())


@pytest.mark.parametrize("by_pixels", [True, False])
def test_what_cancels_is_left_to_be_formed_in_float64(by_pixels: bool) -> None:
    x, g = torch.ones(1, 1, 1, 2).double(), torch.tensor([[[[1.0, 2**-10 - 1]]]]).double()
    use = Use(x, g, torch.zeros(1, 1, 1, 1).double(), PLAIN, 1)
    with pytest.raises(CancelledError):
        norms_by_gram(use, by_pixels=by_pixels, constant=0.0)
    for norms, _ in (form_singly(use), form_patchwise(use)):
        torch.testing.assert_close(norms, torch.tensor([2.0**-20]).double(), rtol=1e-12, atol=0)
    single = Use(x.float(), g.float(), use.kernel.float(), PLAIN, 1)
    assert float(norms_by_gram(single, by_pixels=by_pixels, constant=0.0)) >= 2**-20


@pytest.mark.parametrize("form", [form_singly, form_patchwise])
def test_a_centred_kernel_is_measured_to_all_digits_in_float64(form: Callable[[Use], Any]) -> None:
    """Its gradient is (1, 1 + 2^-20), of which centring leaves (-1, 1) 2^-21."""
    geometry = Geometry((1, 1), (0, 0), (1, 1), 1, centred=True)
    x = torch.tensor([[[[1.0, 1 + 2**-20]]]]).double()
    use = Use(x, torch.ones(1, 1, 1, 1).double(), torch.zeros(1, 1, 1, 2).double(), geometry, 1)
    norms, summed = form(use)
    torch.testing.assert_close(norms, torch.tensor([2.0**-41]).double(), rtol=1e-12, atol=0)
    got = centre(summed(torch.ones(1).double()))
    torch.testing.assert_close(got.square().sum(), norms[0], rtol=1e-12, atol=0)


def shaped(rows: int, channels: int, outputs: int, side: int, kernel: int, stride: int) -> Use:
    pad = kernel // 2
    out = (side + 2 * pad - kernel) // stride + 1
    geometry = Geometry((stride, stride), (pad, pad), (1, 1), 1, centred=False)
    x, g = torch.empty(rows, channels, side, side), torch.empty(rows, outputs, out, out)
    return Use(x, g, torch.empty(outputs, channels, kernel, kernel), geometry, 1)


@pytest.mark.parametrize(
    ("use", "way"),
    [
        (shaped(4, 4, 32, 24, 3, 1), Way.FORM),  # early: many positions, few weights
        (shaped(4, 128, 128, 6, 3, 1), Way.PIXELS),  # late: few positions, many weights
        (shaped(4, 128, 256, 6, 3, 2), Way.PATCHES),  # with strides, most pixel pairs are in vain
        (shaped(2, 256, 256, 28, 3, 1), Way.SINGLY),  # patches too large for the cache
    ],
)
def test_every_way_has_its_place(use: Use, way: Way) -> None:
    assert cheapest(use) is way


def test_groups_are_never_summed_by_gram() -> None:
    geometry = Geometry((1, 1), (0, 0), (1, 1), 64, centred=False)
    use = Use(
        torch.empty(2, 64, 3, 3), torch.empty(2, 64, 1, 1), torch.empty(64, 1, 3, 3), geometry, 1
    )
    assert cheapest(use) in (Way.FORM, Way.SINGLY)


def test_sums_of_patches_by_hand() -> None:
    geometry = Geometry((2, 1), (0, 1), (1, 1), 1, centred=True)
    x = torch.arange(1.0, 9.0).view(1, 1, 2, 4)
    use = Use(x, torch.empty(1, 1, 1, 5), torch.empty(1, 1, 2, 2), geometry, 1)
    assert use.patch_sums().tolist() == [[6.0, 14.0, 18.0, 22.0, 12.0]]
