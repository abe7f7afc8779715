"""Local training at one hospital: one loop, with or without differential privacy.

Without: shuffled batches, every image once an epoch. With: DP-SGD (Abadi et al. 2016), by Opacus's
optimiser on sums that are clipped in one backward pass (common/bookkeeping.py). Every unit enters
every step by a coin of its own (Poisson sampling, what the accountant assumes), its gradient is
clipped, Gaussian noise is added to the sum, and the sum is divided by a public size; a step that
draws nobody is noise alone and counts. A unit is an image, or a patient, whose gradient is the mean
over k rows of the patient's, drawn afresh for every step (common/patients.py).

Shapes: inputs (n, ...) in the model's dtype, labels int64 (n,).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedward.common.augment import random_views, resized
from fedward.common.errors import ModelError
from fedward.common.faces import EMOTIONS, SIDE
from fedward.common.noise_source import NoiseSource
from fedward.common.patients import PatientRows

BETAS = (0.9, 0.98)
MOST_ROWS = 96  # of a private step at a time: bounds memory; a batch of 64 nearly always fits


@dataclass(frozen=True)
class FitPlan:
    """What one call of ``fit`` does.

    Attributes:
        epochs: passes over the images; under privacy expected passes over the units.
        batch_size: images per step, 0 for all; under privacy the expected, public number of units.
        optimizer: "adamw" or "sgd" with ``momentum`` (no dampening, not Nesterov).
        learning_rate: constant over the call.
        weight_decay: decoupled (Loshchilov & Hutter 2019), on tensors of two or more dimensions.
        label_smoothing: as in Szegedy et al. 2016.
        calibrate: add the log of the hospital's own label frequencies to the logits in training,
            so that a hospital that sees little of an emotion does not unlearn it (logit
            adjustment, Menon et al. 2021; federated: Zhang et al. 2022, "Federated Learning with
            Label Distribution Skew via Logits Calibration"). Frequencies are private: not under
            privacy.
        augment: a random view of every image, drawn anew for every step.
        resolution: side at which faces are trained on, in pixels.
        expected_examples: the hospital's public, declared size, in units (images, or patients).
            Under privacy it stands wherever the true number would, which must not be told.
    """

    epochs: int
    batch_size: int
    optimizer: Literal["adamw", "sgd"]
    learning_rate: float
    expected_examples: int
    momentum: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    calibrate: bool = False
    augment: bool = False
    resolution: int = SIDE

    @property
    def expected_batch(self) -> int:
        """Units that a private step expects, and is divided by."""
        return min(self.batch_size or self.expected_examples, self.expected_examples)

    @property
    def sample_rate(self) -> float:
        """Probability with which a private step takes a unit."""
        return self.expected_batch / self.expected_examples

    @property
    def private_steps(self) -> int:
        """Steps of a private call; like ``sample_rate``, what the accountant is told."""
        return self.epochs * math.ceil(self.expected_examples / self.expected_batch)


@dataclass(frozen=True, kw_only=True)
class StepPrivacy:
    """The Gaussian mechanism of one step: noise deviation is noise_multiplier x clipping_norm."""

    noise_multiplier: float
    clipping_norm: float


def fit(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    plan: FitPlan,
    *,
    privacy: StepPrivacy | None,
    batches: torch.Generator,
    noise: NoiseSource | None = None,
    patients: PatientRows | None = None,
) -> int:
    """Train a model in place; torch's global random state is left as it was.

    Args:
        model: from ``build``.
        inputs, labels: the hospital's, from ``network_inputs`` and its emotion codes.
        plan: how long and how.
        privacy: None trains without.
        batches: randomness of batches, of views, of dropout, and of which rows patients give.
        noise: source of the noise, and of the coins by which units take part in a private step;
            needed under privacy alone.
        patients: whose rows are whose, where a patient is one unit of privacy; None: every row is.

    Returns:
        Steps taken.

    Raises:
        ModelError: inputs or labels cannot be trained on, or patients are of other rows.
    """
    _check(inputs, labels, plan)
    _check_patients(patients, labels, privacy)
    rows_per_unit = 1 if patients is None else patients.records
    if plan.calibrate and privacy:
        raise ModelError("label frequencies are private: switch calibrate off under privacy")
    shift = _log_frequencies(labels, plan) if plan.calibrate else torch.zeros(())
    steps = 0
    optimising = _optimizer(model.train(), plan, privacy, noise, rows_per_unit)
    with _dropout_from(batches), optimising as optimizer:
        for rows in _draws(len(labels), plan, batches, patients, noise if privacy else None):
            parts = in_parts(rows, unit_size=rows_per_unit) if privacy else (rows,)
            for part in parts:
                optimizer.zero_grad()
                if len(part):
                    logits = model(_view(inputs[part], plan, batches)) + shift
                    torch.autograd.backward(
                        F.cross_entropy(logits, labels[part], label_smoothing=plan.label_smoothing)
                    )
                if privacy:
                    optimizer.signal_skip_step(part is not parts[-1])
                optimizer.step()
            steps += 1
    return steps


def _draws(
    count: int,
    plan: FitPlan,
    generator: torch.Generator,
    patients: PatientRows | None,
    source: NoiseSource | None,
) -> Iterator[Tensor]:
    """The rows of every step: of units by a coin for each, or all of them in shuffled batches."""
    if source is not None:
        units = count if patients is None else len(patients)
        for _ in range(plan.private_steps):
            drawn = (source.coins(units) < plan.sample_rate).nonzero().squeeze(1)
            yield drawn if patients is None else patients.of_each(drawn, generator).flatten()
    else:
        for _ in range(plan.epochs):
            order = torch.randperm(count, generator=generator)
            yield from torch.split(order, plan.batch_size or count)


def in_parts(rows: Tensor, *, unit_size: int = 1) -> tuple[Tensor, ...]:
    """The rows of a private step in equal parts of MOST_ROWS at most; at least one part. The rows
    of a unit, ``unit_size`` one after the other, are never parted."""
    units = rows.view(-1, unit_size)
    most = max(1, MOST_ROWS // unit_size)
    parts = torch.chunk(units, max(1, math.ceil(len(units) / most)))
    return tuple(part.flatten() for part in parts)


def _log_frequencies(labels: Tensor, plan: FitPlan) -> Tensor:
    """Log of how often the loss's targets name each emotion here, (7,); none is minus infinity."""
    smoothing = max(plan.label_smoothing, 0.02)
    frequencies = torch.bincount(labels, minlength=len(EMOTIONS)) / len(labels)
    return torch.log((1 - plan.label_smoothing) * frequencies + smoothing / len(EMOTIONS))


def _view(images: Tensor, plan: FitPlan, generator: torch.Generator) -> Tensor:
    """What the model sees of some inputs in this step."""
    if plan.augment:
        return random_views(images, side=plan.resolution, generator=generator)
    return resized(images, plan.resolution) if images.ndim == 4 else images


@contextmanager
def _optimizer(
    model: nn.Module,
    plan: FitPlan,
    privacy: StepPrivacy | None,
    noise: NoiseSource | None,
    unit_size: int,
) -> Iterator[Any]:
    """The optimiser of one call; under privacy Opacus's, and a book is kept on the model."""
    plain = _plain_optimizer(model, plan)
    if privacy is None:
        yield plain
        return
    if noise is None:
        raise ValueError("private training needs a source of noise")
    # Opacus takes seconds to import: only where it is needed
    from fedward.common.opacus_mode import BookKeepingHooks, SourcedOptimizer

    hooks = BookKeepingHooks(model, unit_size=unit_size)
    try:
        yield SourcedOptimizer(
            plain,
            noise_multiplier=privacy.noise_multiplier,
            max_grad_norm=privacy.clipping_norm,
            expected_batch_size=plan.expected_batch,
            noise=noise,
        )
    finally:
        hooks.cleanup()


def _plain_optimizer(model: nn.Module, plan: FitPlan) -> torch.optim.Optimizer:
    """AdamW or SGD with decoupled weight decay of what is no bias, scale or shift."""
    parameters = list(model.parameters())
    optimizer: torch.optim.Optimizer
    if plan.optimizer == "adamw":
        optimizer = torch.optim.Adam(parameters, lr=plan.learning_rate, betas=BETAS, fused=True)
    else:
        optimizer = torch.optim.SGD(parameters, lr=plan.learning_rate, momentum=plan.momentum)
    decayed: list[Tensor] = [p.detach() for p in parameters if p.ndim > 1]
    keep = 1 - plan.learning_rate * plan.weight_decay

    def decay(*_: object) -> None:
        torch._foreach_mul_(decayed, keep)

    if plan.weight_decay:
        optimizer.register_step_pre_hook(decay)
    return optimizer


@contextmanager
def _dropout_from(generator: torch.Generator) -> Iterator[None]:
    """Dropout knows torch's global generator alone: lend it a seed, then put its state back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        yield


def _check(inputs: Tensor, labels: Tensor, plan: FitPlan) -> None:
    if len(inputs) == 0 or len(inputs) != len(labels):
        raise ModelError(f"cannot train on {len(inputs)} inputs with {len(labels)} labels")
    if not torch.isfinite(inputs).all():
        bad = int((~torch.isfinite(inputs.flatten(1))).any(1).nonzero()[0])
        raise ModelError(f"input {bad} holds NaN or infinity; check the data set")
    if int(labels.min()) < 0 or int(labels.max()) >= len(EMOTIONS):
        raise ModelError(f"labels must be codes from 0 to {len(EMOTIONS) - 1}")
    if inputs.ndim != 4 and (plan.augment or plan.resolution != SIDE):
        raise ModelError("features cannot be augmented or resized; switch both off for this model")


def _check_patients(
    patients: PatientRows | None, labels: Tensor, privacy: StepPrivacy | None
) -> None:
    if patients is None:
        return
    if privacy is None:
        raise ValueError("patients are units of privacy: give them under privacy alone")
    if len(patients.rows) != len(labels):
        raise ModelError(f"{len(patients.rows)} rows have a patient, of {len(labels)} rows")
