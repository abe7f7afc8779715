"""Federated averaging as pure functions on arrays. Flower is not known here.

Sources: McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks" (Algorithm 1);
Reddi et al. 2021, "Adaptive Federated Optimization" (server optimiser on the mean update);
Polyak and Juditsky 1992 (averaging of iterates).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedward.common.arrays import Arrays, check_like
from fedward.common.errors import UpdateError

# Updates are added as integers of 2**-40. Integer addition is associative, so the mean is the same
# to the last bit in whatever order replies arrive, and nothing has to be held back to sort them.
# Weights of a round add up to at most 1, so LIMIT keeps every sum inside 63 bits.
QUANTUM = 2.0**-40
LIMIT = 2.0**22


class ExactMean:
    """A weighted mean that is folded one update at a time, exactly, in any order.

    Memory is one 8-byte integer per parameter, however many updates are folded.

    Args:
        reference: arrays that every update must match in names, shapes and types.
        cohort_size: the sum of the public sizes of all hospitals that may be folded.
    """

    def __init__(self, reference: Arrays, cohort_size: int) -> None:
        self._reference = reference
        self._cohort_size = cohort_size
        self._sums: dict[str, NDArray[np.int64]] = {
            name: np.zeros(array.shape, np.int64) for name, array in reference.items()
        }
        self._size = 0

    def fold(self, update: Arrays, size: int) -> None:
        """Add one hospital's update, weighted by its public size.

        Raises:
            UpdateError: when anything about the update is wrong; then nothing of it was added.
        """
        check_like(update, self._reference)
        for name, array in update.items():
            if array.size and float(np.abs(array).max()) >= LIMIT:
                raise UpdateError(f"array {name!r} holds values of {LIMIT:.0f} or more")
        scale = size / self._cohort_size / QUANTUM
        for name, array in update.items():
            self._sums[name] += np.rint(array.astype(np.float64) * scale).astype(np.int64)
        self._size += size

    def mean(self) -> Arrays:
        """The mean of what was folded. Raises UpdateError when nothing was."""
        if self._size == 0:
            raise UpdateError("no update was accepted")
        scale = QUANTUM * self._cohort_size / self._size
        return {name: (total * scale).astype(np.float32) for name, total in self._sums.items()}


@dataclass(frozen=True)
class ServerState:
    """What the aggregator carries from round to round; a checkpoint is exactly this.

    Attributes:
        round: the last finished round, 0 before the first.
        arrays: the global model that hospitals train on.
        momentum: of the server optimiser, None before its first step.
        average: running mean of the models of the last rounds, None before it begins.
        averaged: how many models the running mean holds.
    """

    round: int
    arrays: Arrays
    momentum: Arrays | None = None
    average: Arrays | None = None
    averaged: int = 0

    def released(self) -> Arrays:
        """The model that is scored and released: the running mean where there is one."""
        return self.arrays if self.average is None else self.average


def step(state: ServerState, mean: Arrays, *, learning_rate: float, momentum: float) -> ServerState:
    """One server step on the mean update, with Nesterov momentum (Sutskever et al. 2013)."""
    if momentum == 0.0:
        direction, velocity = mean, None
    else:
        old = state.momentum or {name: np.zeros_like(array) for name, array in mean.items()}
        velocity = {name: _f32(momentum * old[name] + mean[name]) for name in mean}
        direction = {name: _f32(mean[name] + momentum * velocity[name]) for name in mean}
    arrays = {
        name: _f32(array + learning_rate * direction[name]) for name, array in state.arrays.items()
    }
    return replace(state, round=state.round + 1, arrays=arrays, momentum=velocity)


def adopt(state: ServerState, mean: Arrays) -> ServerState:
    """Add the mean update as it is, past the optimiser: for statistics, which are no descent."""
    arrays = {name: _f32(array + mean[name]) for name, array in state.arrays.items()}
    return replace(state, round=state.round + 1, arrays=arrays)


def fold_average(state: ServerState) -> ServerState:
    """Take the current model into the running mean of models."""
    count = state.averaged + 1
    old = state.average or state.arrays
    average = {n: _f32(old[n] + (array - old[n]) / count) for n, array in state.arrays.items()}
    return replace(state, average=average, averaged=count)


def scheduled(peak: float, schedule: str, round_number: int, rounds: int) -> float:
    """The rate of a round: constant, or half a cosine from ``peak`` down towards 0."""
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (round_number - 1) / rounds))


def warmed(rate: float, warmup: float, round_number: int, rounds: int) -> float:
    """The rate after a linear warm-up from a tenth over the first ``warmup`` of all rounds."""
    length = warmup * rounds
    done = (round_number - 1) / length if length > 0 else 1.0
    return rate * min(1.0, 0.1 + 0.9 * done)


def _f32(array: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(array, dtype=np.float32)
