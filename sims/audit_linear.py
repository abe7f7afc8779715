"""What a hospital's messages say about who was there, for a linear head on fixed features.

One round's update is the sum of everybody's clipped gradients plus Gaussian noise. Somebody who
knows all images of the hospital, and all canaries, takes off what the known images add and is left
with sum_i s_i g_i + noise, where s_i is canary i's coin and g_i its gradient, an outer product in
closed form (common/linear.py). That is a linear model with Gaussian noise, the same coins in every
round, and the best linear guess of every coin is a ridge regression; it tells canaries apart whose
gradients are alike. The matrices have a row and a column for a canary, whatever the model's size.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedward.common.arrays import Arrays, load_arrays
from fedward.common.linear import BIAS_SCALE, LinearHead, clipped_errors, unit_rows
from fedward.common.messages import Order
from fedward.common.models import build, network_inputs
from fedward.sims.audit_canaries import Canaries

FAINTEST = 1e-4  # deviation that is assumed at least: float32 rounds updates, too
PRIOR = 4.0  # one over the variance of a fair coin


@dataclass
class LinearSight:
    """Evidence from all rounds; see the module.

    Args:
        model: name of the model.
        canaries: who is looked for.
        size: the hospital's public size, which its sums are divided by.
        together: whether the images of a patient are clipped as one; if not, each is.
        background: what an order would make the hospital release without canaries and noise.
    """

    model: str
    canaries: Canaries
    size: int
    together: bool
    background: Callable[[Order], Arrays]
    _likeness: NDArray[np.float64] = field(init=False)
    _agreement: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        head = build(self.model, seed=0)
        assert isinstance(head, LinearHead)
        self._head = head
        self._inputs = network_inputs(self.model, self.canaries.faces.images, cache=None)
        self._labels = torch.from_numpy(self.canaries.faces.labels)
        self._likeness = np.zeros((len(self.canaries),) * 2)
        self._agreement = np.zeros(len(self.canaries))
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None

    def watch(self, order: Order, update: Arrays) -> None:
        """Take in one round: what the hospital was asked, and what it released."""
        load_arrays(self._head, order.arrays)
        known = self.background(order)
        left = {name: torch.from_numpy(update[name] - known[name]).double() for name in update}
        assert order.noise_multiplier is not None
        if order.task == "statistics":
            deviation = order.noise_multiplier * self._head.kind.bound
            self._watch_mean(left["mean"] * self.size, max(deviation, FAINTEST))
        else:
            epochs = order.training.epochs
            scale = -self.size / (epochs * order.learning_rate)
            deviation = order.noise_multiplier * order.clipping_norm / math.sqrt(epochs)
            weight, bias = left["weight"] * scale, left["bias"] * scale
            self._watch_gradient(order, weight, bias, max(deviation, FAINTEST))

    def log_odds(self) -> NDArray[np.float64]:
        """For every canary the evidence for "in" over "out", (canaries,), as if all else about the
        other canaries were Gaussian."""
        from scipy.linalg import inv

        half = 0.5 * self._likeness.sum(1)
        precise = self._likeness + PRIOR * np.eye(len(self._agreement))
        spread = inv(precise, overwrite_a=True, check_finite=False)
        found: NDArray[np.float64] = spread @ (self._agreement - half)
        odds: NDArray[np.float64] = found / spread.diagonal()
        return odds

    def _watch_mean(self, left: Tensor, deviation: float) -> None:
        rows = self._inputs.double().view(len(self.canaries), self.canaries.each, -1)
        units = rows.mean(1) if self.together else rows.sum(1)
        self._likeness += (units @ units.T).numpy() / deviation**2
        self._agreement += (units @ left).numpy() / deviation**2

    def _watch_gradient(self, order: Order, weight: Tensor, bias: Tensor, deviation: float) -> None:
        units, likeness = self._units()
        logits = units @ self._head.weight.detach().T + BIAS_SCALE * self._head.bias.detach()
        size = self.canaries.each if self.together else 1
        errors = clipped_errors(
            logits, units, self._labels, order.clipping_norm, rows_per_unit=size
        ).double()
        rows = (errors @ errors.T).mul_(likeness)
        self._likeness += self._by_patient(self._by_patient(rows).T).numpy() / deviation**2
        agreement = (errors * (units @ weight.float().T + BIAS_SCALE * bias.float())).sum(1)
        self._agreement += self._by_patient(agreement).numpy() / deviation**2

    def _units(self) -> tuple[Tensor, Tensor]:
        """Centred features (rows, d), and how alike they are (rows, rows); the mean that centres
        them moves in round 1 alone."""
        mean = self._head.mean
        if self._seen is None or not torch.equal(self._seen[0], mean):
            units = unit_rows(self._inputs, mean)
            alike = (units @ units.T).double() + BIAS_SCALE**2
            self._seen = mean.clone(), units, alike
        return self._seen[1], self._seen[2]

    def _by_patient(self, rows: Tensor) -> Tensor:
        """Sums (canaries, ...) over the images of every canary, of (rows, ...)."""
        return rows.reshape(len(self.canaries), self.canaries.each, *rows.shape[1:]).sum(1)
