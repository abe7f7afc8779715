"""A linear head on fixed features, and what a hospital computes for it under privacy.

Softmax regression on centred features of unit length, trained by full-batch gradient descent:
one image's gradient is an outer product, so its norm is known in closed form and clipping costs
nothing (Goodfellow 2015, "Efficient per-example gradient computations"); the noise is added once to
the sum (Abadi et al. 2016, "Deep Learning with Differential Privacy", with batches of everything).

Where the unit of privacy is the patient, a patient adds the mean over some of the patient's images,
which is shortened as one: the norm of a mean of outer products follows from the Gram matrices of
errors and of features (common/gram.py).

Sums are divided by the hospital's declared, public size, never by the number of rows at hand.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from fedward.common.errors import ConfigError
from fedward.common.faces import EMOTIONS
from fedward.common.features import FeatureKind
from fedward.common.gram import by_unit, gram_squared_norms
from fedward.common.noise_source import NoiseSource
from fedward.common.train import StepPrivacy

CLASSES = len(EMOTIONS)
BIAS_SCALE = 0.1  # the constant input of the bias, beside features of unit length
ROUNDING = 1e-5  # margin below every clipping norm, for float32 sums
CHUNK = 256  # rows at a time


class LinearHead(nn.Module):
    """Logits from fixed features, (n, d) -> (n, 7).

    All of its state travels: the buffer ``mean`` of the features, which may carry noise, and the
    parameters ``weight`` (7, d) and ``bias`` (7,). It starts at zero, so that the first round's
    change of the mean is what the hospitals measured. The features' mark, if any, is one more
    buffer, always zero. No spread is measured: features come with
    public gains, and dividing by a noisy spread costs accuracy.

    Args:
        kind: the features that it reads.
    """

    mean: Tensor

    def __init__(self, kind: FeatureKind) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(kind.count))
        if kind.mark:
            self.register_buffer(kind.mark, torch.zeros(1))
        self.weight = nn.Parameter(torch.zeros(CLASSES, kind.count))
        self.bias = nn.Parameter(torch.zeros(CLASSES))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, 7) of features (n, d)."""
        units = unit_rows(features, self.mean)
        return units @ self.weight.T + BIAS_SCALE * self.bias


def unit_rows(features: Tensor, mean: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Centred features of unit length, (n, d); a row that is not finite becomes zero.

    ``out`` is memory to use again: getting a chunk's anew from the system takes as long as filling
    it.
    """
    rows = torch.sub(features, mean, out=out)
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    sound = torch.isfinite(norms)
    if not bool(sound.all()):
        rows.masked_fill_(~sound, 0)
        norms.masked_fill_(~sound, 1)
    return rows.div_(norms.clamp_min_(1e-6))


def noisy_mean(
    features: Tensor,
    *,
    bound: float,
    declared: int,
    noise_multiplier: float | None,
    noise: NoiseSource | None = None,
    patients: Iterable[Tensor] | None = None,
) -> Tensor:
    """Mean of a hospital's features (n, d), by the Gaussian mechanism; (d,).

    A unit (an image, or a patient with the mean over some images) adds its features, scaled down to
    ``bound`` where they are longer. A row that is not finite counts as zero.

    Args:
        features: one row per image.
        bound: public L2 norm that no image's features exceed (FeatureKind.bound).
        declared: the hospital's public size in units, which the sum is divided by.
        noise_multiplier: noise standard deviation per ``bound``; None gives the exact mean.
        noise: source of the noise, needed under privacy alone.
        patients: rows (u, s) of patients, every patient in one of them (PatientRows.once_each);
            None: every row is a unit of its own.
    """
    total = torch.zeros(features.shape[1], dtype=torch.float64)
    for part, size in _parts(len(features), patients):
        rows = features[part]
        rows = torch.where(torch.isfinite(rows.square().sum(1, keepdim=True)), rows, 0)
        if size > 1:
            rows = rows.view(-1, size, rows.shape[1]).mean(1)
        total += (rows if noise_multiplier is None else _within(rows, bound)).sum(0)
    if noise_multiplier is not None:
        total = _noisy(total, noise_multiplier * bound, noise)
    return (total / declared).float()


def noisy_gradient(
    head: LinearHead,
    features: Tensor,
    labels: Tensor,
    *,
    declared: int,
    privacy: StepPrivacy | None,
    noise: NoiseSource | None = None,
    patients: Iterable[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradient of the cross-entropy over all of a hospital's units, clipped and noised if private.

    Args:
        head: where the gradient is taken; it is not changed.
        features: one row per image, (n, d).
        labels: emotion codes, int64 (n,).
        declared: the hospital's public size in units, which the sum is divided by.
        privacy: what one unit may add and how much noise is added; None: exact, no clipping.
        noise: source of the noise, needed under privacy alone.
        patients: rows (u, s) of patients, every patient in one of them (PatientRows.once_each), who
            add the mean over their rows; None: every row is a unit of its own.

    Returns:
        Gradients of weight (7, d) and bias (7,).
    """
    total = torch.zeros(CLASSES, features.shape[1] + 1, dtype=torch.float64)
    clip = None if privacy is None else privacy.clipping_norm
    with torch.inference_mode():
        memory = torch.empty(0)
        for part, size in _parts(len(features), patients):
            chosen = features[part]
            if len(chosen) > len(memory):
                memory = torch.empty_like(chosen)
            units = unit_rows(chosen, head.mean, out=memory[: len(chosen)])
            logits = units @ head.weight.T + BIAS_SCALE * head.bias
            errors = clipped_errors(logits, units, labels[part], clip, rows_per_unit=size)
            total[:, :-1] += errors.T @ units
            total[:, -1] += BIAS_SCALE * errors.sum(0)
    if privacy is not None:
        total = _noisy(total, privacy.noise_multiplier * privacy.clipping_norm, noise)
    mean_gradient = (total / declared).float()
    return mean_gradient[:, :-1].contiguous(), mean_gradient[:, -1].contiguous()


def clipped_errors(
    logits: Tensor, units: Tensor, codes: Tensor, clip: float | None, *, rows_per_unit: int = 1
) -> Tensor:
    """Derivatives of each image's loss by its logits, (n, 7), shortened to keep within ``clip``.

    An image's gradient is the outer product of its error and (features, BIAS_SCALE), so the norm
    is the product of the two norms. Rows without usable features or logits become zero. With
    ``rows_per_unit``, so many rows one after the other are one patient's: their errors are divided
    by that number, and shortened together until the sum of their outer products keeps within it.
    """
    errors = torch.softmax(logits, 1) - torch.nn.functional.one_hot(codes, CLASSES)
    lengths = units.square().sum(1)
    sound = (lengths > 0) & torch.isfinite(logits).all(1)
    errors = torch.where(sound[:, None], errors, 0)
    if rows_per_unit > 1:
        errors = errors / rows_per_unit
    if clip is None:
        return errors
    if rows_per_unit > 1:  # never below the true norm, whatever cancels
        seen, wrong = (by_unit(rows, rows_per_unit) for rows in (units, errors))
        norms = gram_squared_norms(seen, wrong, constant=BIAS_SCALE**2).sqrt()
    else:
        norms = (errors.square().sum(1) * (lengths + BIAS_SCALE**2)).sqrt()
    bound = clip * (1 - ROUNDING)
    weights = bound / norms.clamp_min(bound)
    return errors * weights.repeat_interleave(rows_per_unit)[:, None]


def _parts(count: int, patients: Iterable[Tensor] | None) -> Iterator[tuple[slice | Tensor, int]]:
    """At most CHUNK rows at a time, patients whole, and how many of them one after the other are
    one unit."""
    if patients is None:
        yield from ((slice(start, start + CHUNK), 1) for start in range(0, count, CHUNK))
        return
    for rows in patients:
        size = rows.shape[1]
        for part in rows.split(max(1, CHUNK // size)):
            yield _without_copy(part.flatten()), size


def _without_copy(rows: Tensor) -> slice | Tensor:
    """Rows that follow one another as a slice: features are large, and copying them takes time."""
    if len(rows) and bool((rows.diff() == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _within(rows: Tensor, bound: float) -> Tensor:
    """Finite rows, scaled down to this L2 norm where they are longer."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    scale: Tensor = bound * (1 - ROUNDING) / norms.clamp_min(bound * (1 - ROUNDING))
    return rows * scale


def _noisy(total: Tensor, deviation: float, noise: NoiseSource | None) -> Tensor:
    """A sum with noise of this standard deviation; never silently without."""
    if noise is None:
        raise ConfigError(f"privacy needs noise: a source for a deviation of {deviation}")
    return noise.added_to(total, deviation)
