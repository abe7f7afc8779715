"""Ways to take one training step, side by side: torch's own, Opacus's modes, and Fedward's.

A step is zero_grad, forward, backward, clipping, noise and SGD; without privacy the same without
clipping and noise. Inputs (n, ...), labels (n,).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from opacus.grad_sample import (
    GradSampleModule,
    GradSampleModuleFastGradientClipping,
    register_grad_sampler,
)
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from opacus.utils.tensor_utils import unfold2d
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from fedward.common.cnn import CentredConv2d
from fedward.common.faces import EMOTIONS, SIDE
from fedward.common.models import MODELS, build
from fedward.common.opacus_mode import BookKeepingModule, BookKeepingOptimizer
from fedward.common.train import in_parts

Variant = Literal[
    "plain", "plain-best", "opacus-hooks", "opacus-functorch", "opacus-ghost", "fedward"
]
VARIANTS: tuple[Variant, ...] = (
    "plain",
    "plain-best",
    "opacus-hooks",
    "opacus-functorch",
    "opacus-ghost",
    "fedward",
)
LEARNING_RATE = 1e-6  # so small that hundreds of noisy steps leave the model as it was
SIGNALS = (256, 6)  # steps and channels of a wearable's window
SIGNAL_LSTM = "signal-lstm"


class SignalLstm(nn.Module):
    """A window of six signals, (n, 256, 6) -> (n, 64) -> (n, 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.LSTM(SIGNALS[1], 64, batch_first=True)
        self.head = nn.Linear(64, len(EMOTIONS))

    def forward(self, signals: Tensor) -> Tensor:
        """Logits (n, 7) of signals (n, 256, 6)."""
        read, _ = self.steps(signals)
        return cast(Tensor, self.head(read[:, -1]))


def make_model(name: str) -> nn.Module:
    """A model of the registry, or the one of signals; the same at every call."""
    if name in MODELS:
        return build(name, seed=0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return SignalLstm()


def make_batch(name: str, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Standard normal inputs and uniform labels; the same at every call."""
    generator = torch.Generator().manual_seed(batch)
    shape = (1, SIDE, SIDE) if name in MODELS else SIGNALS
    inputs = torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return inputs, torch.randint(0, len(EMOTIONS), (batch,), generator=generator)


@dataclass(frozen=True)
class Stepper:
    """Something that can be trained step by step.

    Attributes:
        model: as it is trained.
        step: takes one step.
    """

    model: nn.Module
    step: Callable[[], None]

    def clipped_sums(self) -> dict[str, Tensor]:
        """What a private step summed, before noise, by the parameter's name in the plain model."""
        named = self.model.named_parameters()
        return {k.removeprefix("_module."): cast(Any, p).summed_grad.detach() for k, p in named}


def make_stepper(
    variant: Variant,
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    noise_multiplier: float,
    clipping_norm: float,
) -> Stepper:
    """A variant, ready to step on this batch again and again."""
    if variant == "plain":  # as users write it
        layout: Any = {"memory_format": torch.contiguous_format}
        return _plain(model.to(**layout), inputs, labels)
    if variant == "plain-best":  # build() lays convolutions out channels_last
        return _plain(model, inputs, labels)
    private = _PRIVATE[variant](model)
    optimizer = private.optimizer(
        torch.optim.SGD(private.model.parameters(), lr=LEARNING_RATE),
        noise_multiplier=noise_multiplier,
        max_grad_norm=clipping_norm,
        expected_batch_size=len(inputs),
    )
    criterion: Any = F.cross_entropy
    rows = torch.arange(len(inputs))
    parts = in_parts(rows) if variant == "fedward" else (rows,)  # as common/train.py goes about it
    if isinstance(private.model, GradSampleModuleFastGradientClipping):
        private.model.max_grad_norm = clipping_norm
        criterion = DPLossFastGradientClipping(private.model, optimizer, nn.CrossEntropyLoss())

    def step() -> None:
        for part in parts:
            optimizer.zero_grad()
            criterion(private.model(inputs[part]), labels[part]).backward()
            optimizer.signal_skip_step(part is not parts[-1])
            optimizer.step()

    return Stepper(private.model, step)


def _plain(model: nn.Module, inputs: Tensor, labels: Tensor) -> Stepper:
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(inputs), labels))
        optimizer.step()

    return Stepper(model, step)


@dataclass(frozen=True)
class _Private:
    model: nn.Module
    optimizer: Callable[..., DPOptimizer]


def _for_opacus(model: nn.Module) -> nn.Module:
    """What Opacus can train: its own LSTM, and nothing in place, for it reads layers' inputs after
    the backward pass."""
    for layer in model.modules():
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    layout: Any = {"memory_format": torch.contiguous_format}
    dtype = next(model.parameters()).dtype
    fixed: nn.Module = ModuleValidator.fix(model.to(**layout)).to(dtype)
    return fixed


_PRIVATE: Mapping[Variant, Callable[[nn.Module], _Private]] = {
    "opacus-hooks": lambda m: _Private(GradSampleModule(_for_opacus(m)), DPOptimizer),
    "opacus-functorch": lambda m: _Private(
        GradSampleModule(_for_opacus(m), force_functorch=True), DPOptimizer
    ),
    "opacus-ghost": lambda m: _Private(
        GradSampleModuleFastGradientClipping(_for_opacus(m), use_ghost_clipping=True),
        DPOptimizerFastGradientClipping,
    ),
    "fedward": lambda m: _Private(BookKeepingModule(m), BookKeepingOptimizer),
}


def _centred_conv_sampler(
    layer: CentredConv2d, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """A centred convolution's gradients, in the way and at the price of Opacus's plain ones."""
    options = {"padding": layer.padding, "stride": layer.stride, "dilation": layer.dilation}
    patches = unfold2d(activations[0], kernel_size=layer.kernel_size, **options)
    samples = torch.einsum("noq,npq->nop", backprops.flatten(2), patches)
    samples = samples - samples.mean(2, keepdim=True)
    weight = cast(nn.Parameter, layer.weight)
    return {weight: samples.view(len(samples), *weight.shape)}


register_grad_sampler(CentredConv2d)(_centred_conv_sampler)
