"""One order carried out at one hospital: the whole of local training, without Flower.

What comes back is the difference that the order made to the model. Losses, scores and counts stay
here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fedward.client.site import Site
from fedward.common.arrays import Arrays, load_arrays, to_arrays
from fedward.common.config import MOST_RECORDS_PER_PATIENT, TrainingConfig, Unit
from fedward.common.errors import ModelError
from fedward.common.faces import SIDE, FaceSet
from fedward.common.linear import LinearHead, noisy_gradient, noisy_mean
from fedward.common.messages import Order, Update
from fedward.common.models import build, network_inputs, predict
from fedward.common.noise_source import NoiseSource, SecureNoise, SeededNoise
from fedward.common.noisy_counts import COUNTS, noisy_counts
from fedward.common.patients import PatientRows, patient_rows
from fedward.common.seeds import secret_generator, torch_generator
from fedward.common.train import FitPlan, StepPrivacy, fit


def carry_out(order: Order, site: Site) -> Update:
    """Train as ordered, on this hospital's faces.

    Raises:
        ModelError: when the order's arrays do not fit its model, inputs are not finite, or the
            order protects other units than the site's size counts.
    """
    return trained(prepared(order), order, site)


def prepared(order: Order) -> torch.nn.Module:
    """The order's model, ready to be trained; no data is read for it.

    Raises:
        ModelError: the order could not be carried out at any hospital.
    """
    _check_bounds(order)
    model = build(order.training.model, seed=order.seed)
    load_arrays(model, order.arrays)
    return model


def trained(model: torch.nn.Module, order: Order, site: Site) -> Update:
    """How a model that was `prepared` changes by training as ordered, on this hospital's faces.

    Raises:
        ModelError: when inputs are not finite, or the order protects other units than the site's
            size counts.
    """
    _check_unit(order, site.unit)
    batches, noise = randomness(order, site)
    own = _Own(
        inputs=network_inputs(order.training.model, site.faces.images, cache=site.cache),
        labels=torch.from_numpy(np.asarray(site.faces.labels)),
        size=site.size,
        patients=_patients(order, site),
        batches=batches,
        noise=noise,
    )
    if order.task == "metrics":
        arrays = _metrics(order, model, own)
    elif isinstance(model, LinearHead):
        arrays = _linear(order, model, own)
    else:
        arrays = _network(order, model, own)
    return Update(order.round, arrays)


@dataclass(frozen=True, kw_only=True)
class _Own:
    """What a hospital adds to an order: what it trains on, and its randomness."""

    inputs: torch.Tensor
    labels: torch.Tensor
    size: int
    patients: PatientRows | None
    batches: torch.Generator
    noise: NoiseSource


def randomness(order: Order, site: Site) -> tuple[torch.Generator, NoiseSource]:
    """What batches are drawn from, and the source of noise and coins: as the site has it, so that a
    server that knows the order's seed knows neither."""
    if site.randomness == "secure":
        return secret_generator(), SecureNoise()
    batches = torch_generator(order.seed, "batches", site.name, order.round)
    noise = torch_generator(order.seed, "noise", site.name, order.round)
    return batches, SeededNoise(noise, coins=batches)


def rehearse(training: TrainingConfig, *, private: bool) -> None:
    """Carry out an order on two blank images, so that processes forked afterwards have everything
    loaded and compiled: torch alone loads for a second when an optimiser takes its first step."""
    blank = FaceSet(
        np.zeros((2, SIDE, SIDE), np.uint8), np.zeros(2, np.int64), np.zeros(2, np.int64)
    )
    order = Order(
        round=1,
        task="train",
        arrays=to_arrays(build(training.model, seed=0)),
        training=training.model_copy(update={"epochs": 1}),
        learning_rate=training.learning_rate,
        resolution=SIDE,
        noise_multiplier=1.0 if private else None,
        clipping_norm=1.0,
        seed=0,
    )
    carry_out(order, Site("rehearsal", len(blank), blank, cache=None, randomness="seeded"))


def _network(order: Order, model: torch.nn.Module, own: _Own) -> Arrays:
    """Epochs of (private) gradient descent."""
    settings = order.training
    plan = FitPlan(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        optimizer=settings.optimizer,
        learning_rate=order.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        calibrate=settings.calibrate,
        augment=settings.augment,
        resolution=order.resolution,
        expected_examples=own.size,
    )
    fit(
        model,
        own.inputs,
        own.labels,
        plan,
        privacy=_privacy(order),
        batches=own.batches,
        noise=own.noise,
        patients=own.patients,
    )
    if order.noise_multiplier is not None:
        _check_buffers(model, order.arrays)
    return difference(to_arrays(model), order.arrays)


def _metrics(order: Order, model: torch.nn.Module, own: _Own) -> Arrays:
    """How often the model is right here, with noise; without, no count leaves."""
    if order.noise_multiplier is None:
        raise ModelError("counts of right answers are private: ask for them with noise")
    answers = predict(order.training.model, model, own.inputs).argmax(axis=1)
    counts = noisy_counts(
        answers == own.labels.numpy(),
        noise_multiplier=order.noise_multiplier,
        noise=own.noise,
        patients=None if own.patients is None else own.patients.once_each(own.batches),
    )
    return {COUNTS: counts}


def _check_buffers(model: torch.nn.Module, before: Arrays) -> None:
    """Noise is added to gradients, so to what is learned by them alone: whatever else changes in
    training, such as a running mean, would leave without any.

    Raises:
        ModelError: naming it.
    """
    for name, buffer in model.named_buffers():
        if not np.array_equal(buffer.detach().numpy(), before[name]):
            raise ModelError(
                f"{name} changed in private training without noise: learn it as a parameter, or "
                "keep it fixed"
            )


def _linear(order: Order, head: LinearHead, own: _Own) -> Arrays:
    """The mean of the features in the statistics round, full-batch gradient steps in all others."""

    def drawn() -> Iterator[torch.Tensor] | None:
        return None if own.patients is None else own.patients.once_each(own.batches)

    if order.task == "statistics":
        mean = noisy_mean(
            own.inputs,
            bound=head.kind.bound,
            declared=own.size,
            noise_multiplier=order.noise_multiplier,
            noise=own.noise,
            patients=drawn(),
        )
        head.mean.add_(mean)
    else:
        for _ in range(order.training.epochs):
            weight, bias = noisy_gradient(
                head,
                own.inputs,
                own.labels,
                declared=own.size,
                privacy=_privacy(order),
                noise=own.noise,
                patients=drawn(),
            )
            with torch.no_grad():
                head.weight.sub_(order.learning_rate * weight)
                head.bias.sub_(order.learning_rate * bias)
    return difference(to_arrays(head), order.arrays)


def _patients(order: Order, site: Site) -> PatientRows | None:
    """Whose rows are whose, where the order protects patients; None where it protects images, or
    nothing."""
    records = order.records_per_patient
    if order.noise_multiplier is None or records is None:
        return None
    return patient_rows(site.faces.patients, records=records)


def _check_bounds(order: Order) -> None:
    """Raises ModelError where no unit would be bounded."""
    records = order.records_per_patient
    if order.noise_multiplier is None:
        return
    if not 0 < order.clipping_norm < math.inf:
        raise ModelError(f"a clipping norm of {order.clipping_norm} bounds nothing: order 1")
    if records is not None and not 1 <= records <= MOST_RECORDS_PER_PATIENT:
        raise ModelError(
            f"{records} records of a patient in one step: order 1 to {MOST_RECORDS_PER_PATIENT}"
        )


def _check_unit(order: Order, unit: Unit) -> None:
    """Raises ModelError where the hospital's size, and so its noise, is about other units."""
    asked = "image" if order.records_per_patient is None else "patient"
    if order.noise_multiplier is not None and asked != unit:
        raise ModelError(
            f"the order protects every {asked}, and this hospital's size counts {unit}s: ask "
            f"with privacy.unit {unit}"
        )


def _privacy(order: Order) -> StepPrivacy | None:
    if order.noise_multiplier is None:
        return None
    return StepPrivacy(noise_multiplier=order.noise_multiplier, clipping_norm=order.clipping_norm)


def difference(after: Arrays, before: Arrays) -> Arrays:
    """Array by array, after minus before."""
    return {name: after[name] - array for name, array in before.items()}
