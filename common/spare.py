"""Memory that is used again from step to step, for the large gradients of single units.

Fresh memory costs a page fault every four kilobytes, and torch gives freed memory back: in a small
network that is a tenth of a private step. Sizes differ from step to step, as Poisson sampling draws
another number of examples each time, so what is kept is flat, and the best fit is lent.
"""

import torch
from torch import Tensor


class Spare:
    """Flat tensors that wait to be lent again; never more than were lent at the same time."""

    def __init__(self) -> None:
        self._waiting: list[Tensor] = []

    def take(self, count: int, like: Tensor) -> Tensor:
        """A flat tensor of at least ``count`` numbers, of any values, of the dtype of ``like``."""
        fit = [t for t in self._waiting if t.dtype is like.dtype and len(t) >= count]
        if fit:
            best = min(fit, key=len)
            self._waiting = [t for t in self._waiting if t is not best]
            return best
        self._waiting = sorted(self._waiting, key=len)[:-1]  # the new one takes the largest's place
        return torch.empty(count, dtype=like.dtype, device=like.device)

    def give(self, tensor: Tensor) -> None:
        """What ``take`` returned, when nobody reads it any more."""
        self._waiting.append(tensor)
