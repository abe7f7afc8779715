"""Conv2d and centred convolutions: sums as in a loop over units, in every way."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common.cnn import CentredConv2d
from fedward.common.conv_gradients import Way
from fedward.common.errors import ModelError
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE
from fedward.common.private_layers import keep_book

Check = Callable[..., None]
LAST = torch.channels_last

# torch's own advice about even kernels, which it gives once
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even")


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def made(layer: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    """The layer with weights of its own seed, of a size that keeps outputs near one."""
    layer.to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            values = drawn(*parameter.shape, seed=seed + number, dtype=dtype)
            parameter.copy_(values / max(1, parameter[0].numel()) ** 0.5)
    return layer


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(3, 4, 3),
    "no bias": lambda: nn.Conv2d(3, 4, 3, bias=False),
    "one by one": lambda: nn.Conv2d(3, 4, 1),
    "strided": lambda: nn.Conv2d(3, 4, 3, stride=(2, 1), padding=1),
    "dilated": lambda: nn.Conv2d(3, 4, 2, dilation=(2, 3), padding=(1, 2)),
    "groups": lambda: nn.Conv2d(3, 6, 3, groups=3, padding=1),
    "same": lambda: nn.Conv2d(3, 4, (3, 4), padding="same"),
    "valid": lambda: nn.Conv2d(3, 4, 3, padding="valid"),
    "reflect": lambda: nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="reflect"),
    "replicate, same": lambda: nn.Conv2d(3, 4, 3, padding="same", padding_mode="replicate"),
    "circular": lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1, padding_mode="circular"),
    "centred": lambda: CentredConv2d(3, 4, 3, 2, 1, bias=False),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST], ids=["rows", "last"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_convolution_alone(
    kind: str, unit_size: int, layout: torch.memory_format, sums_agree: Check
) -> None:
    x = drawn(8, 3, 6, 7, seed=9).contiguous(memory_format=layout)
    layer = made(LAYERS[kind]()).to(memory_format=layout)
    sums_agree(layer, x, unit_size=unit_size)
    sums_agree(layer, x, unit_size=unit_size, loss_reduction="sum")


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "groups"])
def test_every_way_through_the_rule(
    kind: str,
    way: Way,
    unit_size: int,
    monkeypatch: pytest.MonkeyPatch,
    sums_agree: Check,
) -> None:
    taken: list[Way] = []

    def forced(_: object) -> Way:
        taken.append(way)
        return way

    monkeypatch.setattr("fedward.common.conv_rule.cheapest", forced)
    sums_agree(made(LAYERS[kind]()), drawn(8, 3, 6, 7, seed=9), unit_size=unit_size)
    assert taken == [way]


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "groups"])
def test_compiled_loops_give_the_same_sums_in_float32(
    kind: str, way: Way, by_book: Callable[..., list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedward.common.conv_rule.cheapest", lambda _: way)
    model = made(nn.Sequential(made(LAYERS[kind]()), nn.Tanh(), nn.Flatten()), dtype=torch.float32)
    answers = []
    for jit in ("1", "0"):
        monkeypatch.setenv(JIT_VARIABLE, jit)
        x = drawn(8, 3, 6, 7, seed=9, dtype=torch.float32).requires_grad_()
        sums = by_book(model, x, 1.0)
        assert x.grad is not None
        answers.append([*sums, x.grad])
    for one, other in zip(*answers, strict=True):
        assert float((one - other).norm()) <= 4e-6 * float(other.norm())


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, Tensor, int]:
    """Two or three convolutions of any kind on top of each other, an input, and a unit size."""
    small = st.integers(1, 2)
    layers: list[nn.Module] = []
    channels = draw(st.integers(1, 4))
    first = channels
    for _ in range(draw(st.integers(1, 2))):
        groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
        out = groups * draw(st.integers(1, 3))
        kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        padding: Any = draw(st.one_of(st.just("valid"), st.just("same"), st.tuples(small, small)))
        stride = (1, 1) if padding == "same" else draw(st.tuples(small, small))
        options = {"stride": stride, "padding": padding, "dilation": draw(st.tuples(small, small))}
        mode = draw(st.sampled_from(["zeros", "zeros", "reflect", "circular"]))
        options |= {"groups": groups, "bias": draw(st.booleans()), "padding_mode": mode}
        layers += [nn.Conv2d(channels, out, kernel, **options), nn.Tanh()]
        channels = out
    layers += [CentredConv2d(channels, 3, 2, 1, 1, bias=False), nn.Flatten()]
    unit_size, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**30))
    x = drawn(3 * unit_size, first, 13, 14, seed=seed)  # two strides leave a pixel
    if draw(st.booleans()):
        x = x.contiguous(memory_format=LAST)
    return away_from_zero(made(nn.Sequential(*layers), seed)), x, unit_size


def away_from_zero(model: nn.Module) -> nn.Module:
    """No weight below a tenth: maps that a bias makes all but constant leave a centred kernel a
    gradient that cancels to six digits of float64, in a loop over units as well."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.abs().clamp_min(0.1).copysign(parameter))
    return model


@given(
    case=networks(), way=st.sampled_from([None, *Way]), reduction=st.sampled_from(["mean", "sum"])
)
@settings(max_examples=50)
def test_random_networks(
    sums_agree: Check,
    case: tuple[nn.Module, Tensor, int],
    way: Way | None,
    reduction: str,
) -> None:
    model, x, unit_size = case
    grouped = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in model)
    with pytest.MonkeyPatch.context() as patch:
        if way is not None and not (grouped and way in (Way.PIXELS, Way.PATCHES)):
            patch.setattr("fedward.common.conv_rule.cheapest", lambda _: way)
        sums_agree(model, x, unit_size=unit_size, loss_reduction=reduction)


class Level(nn.Module):
    """Differences of what a layer makes of neighbouring places: its gradients nearly cancel."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        places: Tensor = 1e-3 * self.layer(x)
        return places[..., :-1] - places[..., 1:] * (1 - 1e-5)


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("kind", ["plain", "no bias", "centred"])
def test_gradients_that_cancel_are_right_to_ten_digits(
    kind: str, way: Way, monkeypatch: pytest.MonkeyPatch, sums_agree: Check
) -> None:
    monkeypatch.setattr("fedward.common.conv_rule.cheapest", lambda _: way)
    x = 1 + 1e-5 * drawn(6, 3, 6, 7, seed=9)
    sums_agree(Level(made(LAYERS[kind]())), x)


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("kind", LAYERS)
def test_no_rows_are_a_sum_of_zero(
    kind: str, unit_size: int, by_book: Callable[..., list[Tensor]]
) -> None:
    none = torch.zeros(0, 3, 6, 7).double()
    got = by_book(made(LAYERS[kind]()), none, 1.0, unit_size=unit_size)
    assert [float(each.abs().sum()) for each in got] == [0.0] * len(got)


@pytest.mark.parametrize(
    "option",
    [{"bias": True}, {"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect", "padding": 1}],
)
def test_what_a_centred_convolution_does_not_heed_is_refused(option: dict[str, Any]) -> None:
    model = nn.Sequential(CentredConv2d(2, 2, 3, **{"bias": False} | option))
    with (
        pytest.raises(ModelError, match=r"layer 0: a centred convolution .* off it"),
        keep_book(model),
    ):
        pass


def test_without_gradients_the_layer_is_itself(losses_of: Callable[[Tensor], Tensor]) -> None:
    layer, x = made(LAYERS["circular"]()), drawn(4, 3, 6, 7)
    plain = layer(x).detach()
    with keep_book(layer) as book:
        kept = layer(x)
        with torch.no_grad():
            assert torch.equal(layer(x), plain)
        losses_of(kept).sum().backward()
        assert book.accumulated() == 1
    torch.testing.assert_close(kept.detach(), plain)
