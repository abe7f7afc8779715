"""Whole models: sums as in a loop, hostile examples, and what is refused by name."""

import copy
from collections.abc import Callable
from math import isfinite
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward.common.bookkeeping import Book
from fedward.common.errors import ModelError
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE
from fedward.common.models import MODELS, build, is_linear, reads_features
from fedward.common.private_layers import BoundBook, keep_book, layers_of
from fedward.common.scattering import FEATURES

Check = Callable[..., None]
ByBook = Callable[..., list[Tensor]]
ByHand = Callable[..., tuple[list[Tensor], float]]
Losses = Callable[[Tensor], Tensor]
Length = Callable[[list[Tensor]], float]

# the others have gradients in closed form
NETWORKS = [name for name in MODELS if not is_linear(name)]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def shape_of(name: str) -> tuple[int, ...]:
    """Of one input of a model of the registry."""
    return (FEATURES,) if reads_features(name) else (1, 48, 48)


def small(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_model_of_the_registry(
    name: str, unit_size: int, loss_reduction: str, sums_agree: Check
) -> None:
    model = build(name, seed=0).eval().double()
    rows = 8 if unit_size == 4 or name != "thesis-cnn" else 4
    faces = drawn(rows, *shape_of(name), seed=1)
    sums_agree(model, faces, unit_size=unit_size, loss_reduction=loss_reduction)


def test_a_network_that_is_not_laid_out_channels_last(sums_agree: Check) -> None:
    model = build("compact-cnn", seed=0).eval().double().to(memory_format=torch.contiguous_format)
    sums_agree(model, drawn(4, 1, 48, 48, seed=1))


@pytest.mark.parametrize("name", NETWORKS)
def test_norms_in_float32_are_not_too_short(
    name: str, losses_of: Losses, by_hand: ByHand, length_of: Length
) -> None:
    """Also of blank faces, of huge ones, and of one that is nearly a checkerboard."""
    faces = drawn(6, *shape_of(name), seed=1, dtype=torch.float32)
    faces[0], faces[1], faces[2], faces[3] = 0, 1.003, 1e3 * faces[3], -3
    if faces.ndim == 4:
        faces[4, :, ::2, ::2], faces[4, :, 1::2, 1::2] = 3, 3
    single, double = build(name, seed=0).eval(), build(name, seed=0).eval().double()
    with keep_book(single, loss_reduction="sum") as book:
        losses_of(single(faces)).sum().backward()
        (norms,) = book.norms()
    for row, norm in enumerate(norms.tolist()):
        true = length_of(by_hand(double, faces[row : row + 1].double(), 1e9)[0])
        assert norm >= true * (1 - 1e-5)
        # equal features are nothing to a centred 1x1 kernel: the bound of rounding is seen
        assert norm <= true * 1.01 or (row in (1, 3) and reads_features(name))


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_loops_and_torch_agree_in_float32(
    name: str, losses_of: Losses, length_of: Length, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, answers = build(name, seed=0).eval(), []
    for jit in ("1", "0"):
        monkeypatch.setenv(JIT_VARIABLE, jit)
        faces = drawn(4, *shape_of(name), seed=1, dtype=torch.float32).requires_grad_()
        with keep_book(model, loss_reduction="sum") as book:
            losses_of(model(faces)).sum().backward()
            (norms,) = book.norms()
            assert faces.grad is not None
            answers.append((book.clipped_sums(float(norms.median())), [faces.grad], [norms]))
    for one, other in zip(*answers, strict=True):
        off = [a - b for a, b in zip(one, other, strict=True)]
        assert length_of(off) <= 6e-6 * length_of(other)


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_empty_batch_is_a_sum_of_zero(
    name: str, dtype: torch.dtype, unit_size: int, by_book: ByBook
) -> None:
    model = build(name, seed=0).to(dtype)
    for reduction in ("sum", "mean"):
        none = torch.zeros(0, *shape_of(name), dtype=dtype)
        got = by_book(model, none, 1.0, unit_size=unit_size, loss_reduction=reduction)
        assert [each.shape for each in got] == [p.shape for p in model.parameters()]
        assert not any(each.any() for each in got)


class Recurrent(nn.Module):
    """Any recurrent layer on rows of 6 steps of 4."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer = kind(4, 5, batch_first=True, num_layers=2, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layer(x.view(len(x), 6, 4))[0].mean(1))
        return answer


class Words(nn.Module):
    """Indices, made of what is finite in a row, and its first number as a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        words = (x.nan_to_num(0, 0, 0).clamp(-1, 1) * 3 + 3).long()
        answer: Tensor = self.head((self.embedding(words) * x[:, :1, None]).mean(1))
        return answer


class Image(nn.Module):
    """Convolutions on rows of 4 x 6 pixels, by Gram matrices and formed."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.GroupNorm(2, 6),
            nn.ReLU(),
            nn.Conv2d(6, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
            nn.Flatten(),
            nn.Linear(96, 3),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layers(x.view(len(x), 1, 4, 6))
        return answer


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(24, 9), nn.ReLU(), nn.Linear(9, 3))


HOSTILE: dict[str, Callable[[], nn.Module]] = {
    "dense": dense,
    "images": Image,
    "LSTM": lambda: Recurrent(nn.LSTM),
    "GRU": lambda: Recurrent(nn.GRU),
    "words": Words,
}
BAD = [1e20, 1e30, -1e38, torch.nan, torch.inf, -torch.inf, 1.0, 0.0]


def hostile(kind: str, dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(3)
    return HOSTILE[kind]().to(dtype)


@pytest.mark.parametrize("jit", ["1", "0"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_row_counts_for_the_clipping_norm_at_most(
    kind: str,
    bad: float,
    dtype: torch.dtype,
    jit: str,
    by_book: ByBook,
    length_of: Length,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole row of a bad value, or one number of it."""
    monkeypatch.setenv(JIT_VARIABLE, jit)
    model, x = hostile(kind, dtype), drawn(6, 24, seed=1, dtype=dtype)
    norm, rows = 0.05, torch.tensor([0, 1, 3, 4, 5])
    without = by_book(model, x[rows], norm)
    rounding = 1e-5 if dtype is torch.float32 else 1e-13
    for places in (slice(None), slice(0, 1), slice(7, 8)):
        seen = x.clone()
        seen[2, places] = bad
        got = by_book(model, seen, norm)
        assert all(bool(torch.isfinite(each).all()) for each in got)
        moved = length_of([one - other for one, other in zip(got, without, strict=True)])
        assert moved <= norm + rounding * length_of(without)
        if not isfinite(bad) and (kind != "words" or places != slice(7, 8)):
            assert moved <= rounding * length_of(without)  # it adds nothing


@pytest.mark.parametrize("unit_size", [1, 2])
@pytest.mark.parametrize("kind", HOSTILE)
def test_other_rows_do_not_notice_what_is_not_finite(
    kind: str, unit_size: int, by_book: ByBook
) -> None:
    """To the last digit: another bad value in the same place changes nothing."""
    model, x = hostile(kind, torch.float32), drawn(6, 24, seed=1, dtype=torch.float32)
    sums = []
    for values in ([torch.nan], [torch.inf, -torch.inf], [torch.nan, 1e30]):
        seen = x.clone()
        seen[2, : len(values)] = torch.tensor(values)
        sums.append(by_book(model, seen, 0.05, unit_size=unit_size))
    for other in sums[1:]:
        for one, same in zip(sums[0], other, strict=True):
            assert torch.equal(one, same)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_row_takes_its_own_unit_along_and_no_other(
    kind: str, by_book: ByBook, length_of: Length
) -> None:
    model, x = hostile(kind, torch.float64), drawn(6, 24, seed=1)
    seen, rest = x.clone(), x[torch.tensor([0, 1, 4, 5])]
    seen[2, 0] = torch.nan
    got, wanted = (by_book(model, each, 0.05, unit_size=2) for each in (seen, rest))
    assert length_of([a - b for a, b in zip(got, wanted, strict=True)]) <= 1e-12


class Scaled(nn.Module):
    """A parametrised module that no rule is known for."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def twice_there() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(nn.Sequential(layer), nn.Sequential(layer))


def partly_frozen() -> nn.Module:
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 3))
    model[1].bias.requires_grad_(False)
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "BatchNorm": (lambda: nn.BatchNorm2d(3), r"layer 1 \(BatchNorm2d\) mixes .*: use GroupNorm"),
    "BatchNorm, frozen": (lambda: nn.BatchNorm1d(3).requires_grad_(False), r"mixes .* GroupNorm"),
    "BatchNorm, plain": (lambda: nn.BatchNorm1d(3, affine=False), r"layer 1 .*mixes examples"),
    "InstanceNorm": (
        lambda: nn.InstanceNorm2d(3, track_running_stats=True),
        r"layer 1 \(InstanceNorm2d\) gathers .* use GroupNorm with one channel per group",
    ),
    "InstanceNorm, scaled": (
        lambda: nn.InstanceNorm2d(3, affine=True),
        r"layer 1 \(InstanceNorm2d\) has no rule .* use GroupNorm with one channel per group",
    ),
    "tied": (tied, r"layers 1\.0 and 1\.2 share a parameter .* give each its own"),
    "twice there": (twice_there, r"layers 1\.0\.0 and 1\.1\.0 share a parameter .* its own"),
    "unknown": (Scaled, r"layer 1 \(Scaled\) has no rule .* GRU, GroupNorm, .* or freeze it"),
    "subclass": (lambda: Doubled(3, 3), r"layer 1 \(Doubled\) has no rule .* build it from Conv2d"),
    "partly frozen": (partly_frozen, r"layer 1\.1 \(Linear\) is frozen in part: freeze all"),
    "RNN": (lambda: nn.RNN(3, 3), r"layer 1 \(RNN\) has no rule .* use LSTM or GRU"),
    "Conv1d": (lambda: nn.Conv1d(3, 3, 1), r"layer 1 \(Conv1d\) .* use Conv2d on \(n, c, 1, len"),
    "Conv3d": (lambda: nn.Conv3d(3, 3, 1), r"layer 1 \(Conv3d\) .* freeze it, or train with"),
    "Bilinear": (lambda: nn.Bilinear(3, 3, 1), r"layer 1 \(Bilinear\) .* use Linear"),
    "attention": (
        lambda: nn.MultiheadAttention(3, 1),
        r"layer 1 \(MultiheadAttention\) .* use opacus.layers.DPMultiheadAttention",
    ),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(4, 2, batch_first=True),
        r"layer 1\.self_attn \(MultiheadAttention\) .* use opacus.layers.DPMultihead",
    ),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(3, 3), r"layer 1 \(EmbeddingBag\) has no rule"),
    "normalised weights": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
        r"layer 1 \(ParametrizedLinear\) has no rule",
    ),
    "computed weights": (
        lambda: nn.utils.spectral_norm(nn.Linear(3, 3)),
        r"layer 1 \(Linear\) computes its weights from weight_orig: take .*spectral_norm",
    ),
    "computed weights of a GRU": (
        lambda: nn.utils.spectral_norm(nn.GRU(3, 3), "weight_hh_l0"),
        r"layer 1 \(GRU\) computes its weights from weight_hh_l0_orig",
    ),
    "half precision": (
        lambda: nn.Linear(3, 3, dtype=torch.bfloat16),
        r"layer 1 \(Linear\) is in torch.bfloat16: train it in float32",
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, training: bool) -> None:
    make, message = REFUSED[kind]
    model = nn.Sequential(nn.Linear(3, 3), make()).train(training)
    with pytest.raises(ModelError, match=message), keep_book(model):
        pass
    assert not any("forward" in vars(layer) for layer in model.modules())
    assert not model._forward_pre_hooks


def test_a_model_that_is_refused_itself_is_called_so() -> None:
    with pytest.raises(ModelError, match=r"layer of the model itself \(Scaled\) has no rule"):
        layers_of(Scaled())


def test_a_second_book_is_refused() -> None:
    model = small()
    with keep_book(model) as book:
        with pytest.raises(ModelError, match=r"layer 0 \(Linear\) .*: release the book"):
            BoundBook(model)
        model(torch.ones(2, 3)).sum().backward()
        assert book.accumulated() == 1
    with keep_book(model):
        pass


def test_weights_used_past_their_layer_are_noticed(losses_of: Losses) -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = nn.functional.linear(self.layer(x), self.layer.weight)
            return answer

    with keep_book(model := Around()) as book:
        losses_of(model(torch.ones(2, 3))).mean().backward()
        with pytest.raises(ModelError, match=r"shape \(3, 3\) got a gradient past its layer"):
            book.clipped_sums(1.0)


def test_layers_that_are_known_by_name() -> None:
    names = [name for name, _, _ in layers_of(build("lstm", seed=0))]
    assert names == ["rows", "columns", "head"]
    assert [name for name, _, _ in layers_of(nn.Linear(2, 2))] == ["Linear"]


def test_layers_without_parameters_that_normalise_are_fine(sums_agree: Check) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4, affine=False)
    model = nn.Sequential(*layers, nn.LayerNorm(4, elementwise_affine=False), nn.Conv2d(4, 3, 2))
    sums_agree(model.double(), drawn(4, 2, 6, 6))


def test_frozen_layers_get_no_gradient(sums_agree: Check, losses_of: Losses) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), Scaled(), nn.Linear(3, 2)]
    layers.insert(4, nn.Linear(4, 3))
    model = nn.Sequential(*layers).double()
    for frozen in (model[2], model[5]):
        frozen.requires_grad_(False)
    sums_agree(model, drawn(6, 3))
    with keep_book(model) as book:
        losses_of(model(drawn(6, 3))).mean().backward()
        assert len(book.clipped_sums(1.0)) == 6
    assert all(p.grad is None for p in model.parameters())


def test_a_model_that_is_frozen_altogether_has_no_sums() -> None:
    model = small().requires_grad_(False)
    with keep_book(model) as book:
        model(torch.ones(2, 3))
        assert book.clipped_sums(1.0) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_after_release_the_model_is_as_before(name: str, losses_of: Losses) -> None:
    model = build(name, seed=0).eval()
    faces = drawn(2, *shape_of(name), dtype=torch.float32)
    attributes = [set(vars(layer)) for layer in model.modules()]
    state, answer = {k: v.clone() for k, v in model.state_dict().items()}, model(faces).detach()
    bound = BoundBook(model)
    losses_of(model(faces)).mean().backward()
    assert list(model.state_dict()) == list(state)
    for _ in range(2):
        bound.release()
    assert [set(vars(layer)) for layer in model.modules()] == attributes
    assert not model._forward_pre_hooks
    assert torch.equal(model(faces), answer)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    losses_of(model(faces)).mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_error_releases_the_model() -> None:
    model = small()
    with pytest.raises(ZeroDivisionError), keep_book(model):
        raise ZeroDivisionError
    assert "forward" not in vars(model[0])


def test_a_copy_of_the_model_gets_a_book_of_its_own(by_book: ByBook, losses_of: Losses) -> None:
    """A moving average of weights, say: it must not answer with the original's weights."""
    model, x = small().double(), drawn(5, 3)
    wanted = by_book(model, x, 1.0)
    with keep_book(model, loss_reduction="sum") as book:
        losses_of(model(x)).sum().backward()
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert twin(x).abs().sum() == 0
        assert book.accumulated() == 1
        for one, other in zip(book.clipped_sums(1.0), wanted, strict=True):
            assert torch.equal(one, other)


def test_an_empty_book_is_copied() -> None:
    book = Book([nn.Parameter(torch.ones(2))], unit_size=3, loss_reduction="sum")
    book.most_passes = 1
    twin = copy.deepcopy(book)
    assert (twin.unit_size, twin.most_passes) == (3, 1)
    assert twin.parameters[0] is not book.parameters[0]
    assert len(twin.clipped_sums(1.0)) == 1


class Named(nn.Module):
    """Examples in a dictionary, after a number that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, factor: Tensor, batch: dict[str, list[Tensor]]) -> Tensor:
        answer: Tensor = factor * self.layer(batch["x"][0])
        return answer


def test_examples_are_found_in_nested_inputs(losses_of: Losses) -> None:
    model = Named()
    with keep_book(model) as book:
        answer = model(torch.tensor(2.0), batch={"x": [torch.ones(4, 3)]})
        losses_of(answer).mean().backward()
        assert [len(norms) for norms in book.norms()] == [4]


def test_a_model_without_rows_is_refused() -> None:
    model = Named()
    with keep_book(model), pytest.raises(ModelError, match="was given no tensor, whose rows"):
        model(torch.tensor(2.0), batch={"x": []})


def test_attention_of_opacus_with_the_batch_first(sums_agree: Check) -> None:
    from opacus.layers import DPMultiheadAttention

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = DPMultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.attention(x, x, x)[0]
            return answer

    torch.manual_seed(0)
    sums_agree(Attention().double(), drawn(4, 5, 4), unit_size=2)
