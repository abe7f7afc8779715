"""LSTM and GRU of every make: outputs as torch's own, sums as in a loop over units."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common.errors import ModelError
from fedward.common.kernels import HAVE_NUMBA, JIT_VARIABLE
from fedward.common.private_layers import keep_book
from fedward.common.recurrent_rules import layer_names

Check = Callable[..., None]
KINDS: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU}
HIDDEN = 3


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def made(layer: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    layer.to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.5 * drawn(*parameter.shape, seed=seed + number, dtype=dtype))
    return layer


class Reader(nn.Module):
    """Sequences (n, t, 4) to what is read of a recurrent layer, (n, ...).

    ``given``: initial states are made of the sequences, so that their gradients count too.
    """

    def __init__(self, kind: str, *, reads: str = "steps", given: bool = False, **options: Any):
        super().__init__()
        options = {"batch_first": True} | options
        self.before = nn.Linear(4, 4)
        self.layer = KINDS[kind](4, HIDDEN, **options)
        self.reads, self.given = reads, given

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        sequences = x if self.layer.batch_first else x.transpose(0, 1)
        start: Any = None
        if self.given:
            places = torch.arange(1.0, 1 + len(layer_names(self.layer)), dtype=x.dtype)
            start = torch.tanh(places.view(-1, 1, 1) * x[:, 0, :HIDDEN])
            start = (start, start.flip(2)) if isinstance(self.layer, nn.LSTM) else start
        out, last = self.layer(sequences, start)
        out = out if self.layer.batch_first else out.transpose(0, 1)
        hidden, cells = last if isinstance(last, tuple) else (last, last)
        read = {
            "steps": lambda: out,
            "last step": lambda: out[:, -1],
            "hidden": lambda: hidden.transpose(0, 1),
            "cells": lambda: cells.transpose(0, 1),
            "everything": lambda: torch.cat([out[:, 1], hidden[0] * cells[-1], cells[0]], 1),
        }[self.reads]()
        assert isinstance(read, Tensor)
        return read


READS = ["steps", "last step", "hidden", "cells", "everything"]


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_layer(
    kind: str,
    depth: int,
    bidirectional: bool,
    reads: str,
    given: bool,
    unit_size: int,
    sums_agree: Check,
) -> None:
    options = {"num_layers": depth, "bidirectional": bidirectional}
    model = made(Reader(kind, reads=reads, given=given, **options))
    sums_agree(model, drawn(8, 5, 4, seed=7), unit_size=unit_size)


@pytest.mark.parametrize("steps", [1, 4, 24])
@pytest.mark.parametrize("options", [{"batch_first": False}, {"bias": False}])
@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_time_first_and_no_bias_and_many_steps(
    kind: str, unit_size: int, options: dict[str, Any], steps: int, sums_agree: Check
) -> None:
    model = made(Reader(kind, reads="everything" if steps > 1 else "steps", **options))
    x = drawn(8, steps, 4, seed=7)
    sums_agree(model, x, unit_size=unit_size)
    sums_agree(model, x, unit_size=unit_size, loss_reduction="sum")


@given(
    kind=st.sampled_from(sorted(KINDS)),
    words=st.integers(2, 6),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7)),
    depth=st.integers(1, 2),
    bidirectional=st.booleans(),
    bias=st.booleans(),
    unit_size=st.integers(1, 3),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=25)
def test_embedding_then_recurrence_then_linear(
    sums_agree: Check,
    kind: str,
    words: int,
    sizes: tuple[int, int, int],
    depth: int,
    bidirectional: bool,
    bias: bool,
    unit_size: int,
    seed: int,
) -> None:
    width, hidden, steps = sizes

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(words, width, padding_idx=0)
            options = {"num_layers": depth, "bidirectional": bidirectional, "bias": bias}
            self.layer = KINDS[kind](width, hidden, batch_first=True, **options)
            self.head = nn.Linear(hidden * (1 + bidirectional), 3)

        def forward(self, indices: Tensor) -> Tensor:
            answer: Tensor = self.head(self.layer(self.embedding(indices))[0].mean(1))
            return answer

    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(1, words, (3 * unit_size, steps), generator=generator)
    sums_agree(made(Network(), seed), x, unit_size=unit_size)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_states_are_torchs(
    kind: str, batch_first: bool, options: dict[str, Any]
) -> None:
    layer = made(KINDS[kind](4, HIDDEN, batch_first=batch_first, **options))
    x = drawn(6, 6, 4, seed=3)
    start: Any = drawn(len(layer_names(layer)), 6, HIDDEN, seed=4)
    start = (start, start + 1) if kind == "LSTM" else start
    plain = layer(x, start)
    with keep_book(layer):
        kept = layer(x, start)
    flat = [[y, *last] if kind == "LSTM" else [y, last] for y, last in (plain, kept)]
    for one, other in zip(*flat, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_dropout_between_layers_is_only_in_training() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = made(nn.LSTM(4, HIDDEN, num_layers=2, dropout=1.0, batch_first=True))
    x = drawn(2, 5, 4)
    for train in (True, False):
        layer.train(train)
        plain, _ = layer(x)
        with keep_book(layer):
            kept, _ = layer(x)
        torch.testing.assert_close(kept, plain)


def test_names_of_weights() -> None:
    layer = nn.GRU(2, 2, num_layers=2, bidirectional=True)
    assert layer_names(layer) == ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    assert {f"weight_ih{name}" for name in layer_names(layer)} <= set(layer.state_dict())


@pytest.mark.skipif(not HAVE_NUMBA, reason="without numba there is one way only")
@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_steps_and_torchs_agree_in_float32(
    kind: str, reads: str, by_book: Callable[..., list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"num_layers": 2, "bidirectional": True}
    model = made(Reader(kind, reads=reads, given=True, **options), dtype=torch.float32)
    answers = []
    for jit in ("1", "0"):
        monkeypatch.setenv(JIT_VARIABLE, jit)
        x = drawn(8, 9, 4, seed=7, dtype=torch.float32).requires_grad_()
        sums = by_book(model, x, 1.0)
        assert x.grad is not None
        answers.append([*sums, x.grad])
    for one, other in zip(*answers, strict=True):
        assert float((one - other).norm()) <= 6e-6 * float(other.norm())


@pytest.mark.parametrize("unit_size", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_a_sum_of_zero(
    kind: str, dtype: torch.dtype, unit_size: int, by_book: Callable[..., list[Tensor]]
) -> None:
    model = made(Reader(kind, reads="steps", bidirectional=True), dtype=dtype)
    got = by_book(model, torch.zeros(0, 5, 4, dtype=dtype), 1.0, unit_size=unit_size)
    assert [float(each.abs().sum()) for each in got] == [0.0] * len(got)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_and_single_ones_are_refused(kind: str) -> None:
    model = nn.Sequential(KINDS[kind](4, HIDDEN, batch_first=True))
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 4), torch.ones(2, 4)])
    refused = pytest.raises(ModelError, match="layer 0 takes a batch of sequences of one length")
    with keep_book(model):
        for given in (packed, torch.ones(3, 4)):
            with refused:
                model(given)
    assert model(packed)[0].data.shape == (5, HIDDEN)


def test_projections_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, HIDDEN, proj_size=2))
    refused = pytest.raises(ModelError, match=r"layer 1 projects .* and a Linear behind it")
    with refused, keep_book(model):
        pass
    assert "forward" not in vars(model[0])


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_changed_in_place_leaves_the_states_alone(kind: str, sums_agree: Check) -> None:
    """Of one row, the output's memory could be that of the states."""

    class InPlace(Reader):
        def forward(self, x: Tensor) -> Tensor:
            out, _ = self.layer(self.before(x))
            changed: Tensor = out.mul_(3.0)
            return changed

    sums_agree(made(InPlace(kind)), drawn(1, 5, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_changed_before_the_backward_pass_are_noticed(
    kind: str, losses_of: Callable[[Tensor], Tensor]
) -> None:
    layer, x = made(KINDS[kind](4, HIDDEN, batch_first=True)), drawn(1, 5, 4)
    with keep_book(layer):
        loss = losses_of(layer(x)[0]).sum()
        x += 1
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
