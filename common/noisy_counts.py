"""How often a model is right at a hospital, by the Gaussian mechanism.

A unit (an image, or a patient with the share over some images) adds to two sums: how much of it the
model names right, between 0 and 1, and 1 for itself. So it moves both together by at most the
square root of 2, and Gaussian noise in proportion hides it (Dwork & Roth 2014, appendix A). Nothing
else of a hospital's own scores ever leaves.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedward.common.noise_source import NoiseSource

COUNTS = "counts"  # the released array: right answers, units; float32 (2,)
SENSITIVITY = math.sqrt(2)


def noisy_counts(
    right: NDArray[np.bool_],
    *,
    noise_multiplier: float,
    noise: NoiseSource,
    patients: Iterable[Tensor] | None = None,
) -> NDArray[np.float32]:
    """Right answers and units, both noisy.

    Args:
        right: of every image, (n,).
        noise_multiplier: noise standard deviation per SENSITIVITY.
        noise: where the noise comes from.
        patients: rows (u, s) of patients, every patient in one of them (PatientRows.once_each);
            None: every image is a unit of its own.

    Returns:
        (2,); each may be negative, or more than there are.
    """
    hits = torch.from_numpy(right.astype(np.float64))
    parts = (hits,) if patients is None else tuple(hits[rows].mean(1) for rows in patients)
    total = torch.stack(
        [
            torch.stack([part.sum() for part in parts]).sum(),
            torch.tensor(float(sum(len(part) for part in parts)), dtype=torch.float64),
        ]
    )
    released = noise.added_to(total, noise_multiplier * SENSITIVITY)
    return np.asarray(released.float().numpy())


def accuracy_of(counts: NDArray[np.float32]) -> float | None:
    """The share of right answers that noisy counts tell, kept within 0 and 1; None where noise has
    left no units."""
    right, units = (float(value) for value in counts)
    return min(1.0, max(0.0, right / units)) if units >= 1 else None
