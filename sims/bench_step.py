"""`fedward bench step`: what a private step costs beside an ordinary one.

All variants of a case take turns in one process, so that a busy machine slows all of them. A turn
is two steps of which the second counts: in training a step follows one of its own kind, and after
another's it would pay for getting that one's memory back. Time is that of one thread, as a median;
ratios are against plain PyTorch at its best. Peak memory is measured in a process of its own, above
what it held before the first step.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from fedward.sims.bench_memory import peak_memory
from fedward.sims.bench_variants import (
    SIGNAL_LSTM,
    VARIANTS,
    Variant,
    make_batch,
    make_model,
    make_stepper,
)

CASES = (
    ("thesis-cnn", 64),
    ("compact-cnn", 64),
    ("compact-cnn", 256),
    ("thesis-lstm", 64),
    ("thesis-lstm", 256),
    ("lstm", 64),
    ("lstm", 256),
    ("cnn-lstm", 64),
    (SIGNAL_LSTM, 64),
)
QUICK_CASES = (("compact-cnn", 64), ("lstm", 64), (SIGNAL_LSTM, 64))
TURNS, QUICK_TURNS = 15, 5
CHECKED = 8  # rows in the comparison with a loop


class Row(BaseModel):
    """One variant of one case.

    Attributes:
        model, batch, variant: what.
        seconds: of a step; one thread's time, median.
        ratio_to_plain_best: median over turns of the ratio within a turn.
        peak_mb: memory above what was held before the first step; None where it cannot be measured.
        max_rel_error: of the clipped sum against a per-example loop, in float32, as a relative L2
            norm; None without privacy.
        max_rel_error_float64: the same in float64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    batch: int
    variant: Variant
    seconds: float
    ratio_to_plain_best: float
    peak_mb: float | None
    max_rel_error: float | None
    max_rel_error_float64: float | None


class StepBench(BaseModel):
    """What the command saves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["step"] = "step"
    torch: str
    threads: Literal[1] = 1
    turns: int
    rows: list[Row]


def bench_step(*, quick: bool, tell: Callable[[str, int, int], None]) -> StepBench:
    """Measure all cases; ``tell`` hears which begins, its number and how many there are."""
    cases, turns = (QUICK_CASES, QUICK_TURNS) if quick else (CASES, TURNS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows: list[Row] = []
    try:
        tell("memory", 0, len(cases))
        memory = peak_memory(cases)
        for number, (model, batch) in enumerate(cases):
            tell(f"{model}, batch {batch}", number, len(cases))
            rows += bench_case(model, batch, turns=turns, memory=memory[number])
    finally:
        torch.set_num_threads(threads)
    return StepBench(torch=torch.__version__, turns=turns, rows=rows)


def bench_case(
    model: str, batch: int, *, turns: int, memory: Mapping[Variant, float | None]
) -> list[Row]:
    """All variants of one case, whose peak memory is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing")  # Opacus's ways
        errors = {dtype: relative_errors(model, dtype) for dtype in (torch.float32, torch.float64)}
        spent = list(take_turns(model, batch, turns))
    ratios = [{v: s / turn["plain-best"] for v, s in turn.items()} for turn in spent]
    return [
        Row(
            model=model,
            batch=batch,
            variant=variant,
            seconds=statistics.median(turn[variant] for turn in spent),
            ratio_to_plain_best=statistics.median(turn[variant] for turn in ratios),
            peak_mb=memory[variant],
            max_rel_error=errors[torch.float32].get(variant),
            max_rel_error_float64=errors[torch.float64].get(variant),
        )
        for variant in VARIANTS
    ]


def take_turns(model: str, batch: int, turns: int) -> Iterator[dict[Variant, float]]:
    """Seconds of one step of every variant, again and again."""
    inputs, labels = make_batch(model, batch, torch.float32)
    steps = {
        variant: make_stepper(
            variant, make_model(model), inputs, labels, noise_multiplier=1.0, clipping_norm=1.0
        ).step
        for variant in VARIANTS
    }
    for step in steps.values():
        step()
    for _ in range(turns):
        spent: dict[Variant, float] = {}
        for variant, step in steps.items():
            step()
            began = time.thread_time()
            step()
            spent[variant] = time.thread_time() - began
        yield spent


def relative_errors(name: str, dtype: torch.dtype) -> dict[Variant, float]:
    """How far the clipped sums of the private variants are from a loop over examples."""
    inputs, labels = make_batch(name, CHECKED, dtype)
    model = make_model(name).to(dtype).eval()  # dropout would differ
    norm = statistics.median(float(_norm(g)) for g in _loop(model, inputs, labels))
    wanted = _clipped_loop(model, inputs, labels, norm)
    length = _norm(list(wanted.values()))
    errors: dict[Variant, float] = {}
    for variant in VARIANTS:
        if variant.startswith("plain"):
            continue
        own = copy.deepcopy(model)
        stepper = make_stepper(
            variant, own, inputs, labels, noise_multiplier=0.0, clipping_norm=norm
        )
        for layer in stepper.model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        stepper.model.train()  # Opacus notes nothing in evaluation
        stepper.step()
        got = stepper.clipped_sums()
        off = [got[key].reshape(value.shape) - value for key, value in wanted.items()]
        errors[variant] = float(_norm(off) / length)
    return errors


def _loop(model: nn.Module, inputs: Tensor, labels: Tensor) -> Iterator[list[Tensor]]:
    """Every example's gradient, one after the other."""
    parameters = list(model.parameters())
    for row in range(len(inputs)):
        loss = F.cross_entropy(model(inputs[row : row + 1]), labels[row : row + 1])
        yield list(torch.autograd.grad(loss, parameters))


def _clipped_loop(
    model: nn.Module, inputs: Tensor, labels: Tensor, norm: float
) -> dict[str, Tensor]:
    total = [torch.zeros_like(p) for p in model.parameters()]
    for gradient in _loop(model, inputs, labels):
        factor = min(1.0, norm / (float(_norm(gradient)) + 1e-6))  # Opacus's
        for whole, part in zip(total, gradient, strict=True):
            whole.add_(part, alpha=factor)
    return dict(zip((name for name, _ in model.named_parameters()), total, strict=True))


def _norm(tensors: list[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
