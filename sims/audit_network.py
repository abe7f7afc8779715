"""What a hospital's messages say about who was there, for a network trained by DP-SGD.

A round is several steps from sampled batches through the hospital's own optimiser; what is seen is
how the model moved. A canary's evidence is how far it moved along the canary's clipped gradient,
down: the inner product of minus the update and the gradient at the round's model. It is taken as
the difference of the canary's losses half an update behind the model and half an update ahead
of it, which needs no gradient; the clipping weight needs its norm, which the book of private
training knows (common/bookkeeping.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedward.common.arrays import Arrays, load_arrays
from fedward.common.messages import Order
from fedward.common.models import build, network_inputs
from fedward.sims.audit_canaries import Canaries

ROWS = 128  # at a time, patients whole


@dataclass
class NetworkSight:
    """Evidence from all rounds; see the module.

    Args:
        model: name of the model.
        canaries: who is looked for.
        together: whether the images of a patient are clipped as one; if not, each is.
    """

    model: str
    canaries: Canaries
    together: bool
    _evidence: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._network = build(self.model, seed=0).eval()
        self._inputs = network_inputs(self.model, self.canaries.faces.images, cache=None)
        self._labels = torch.from_numpy(self.canaries.faces.labels)
        self._evidence = np.zeros(len(self.canaries))

    def watch(self, order: Order, update: Arrays) -> None:
        """Take in one round: what the hospital was asked, and what it released."""
        half = np.float32(0.5)
        moved = {name: half * array for name, array in update.items()}
        behind = self._losses({name: order.arrays[name] - moved[name] for name in moved})
        ahead = self._losses({name: order.arrays[name] + moved[name] for name in moved})
        load_arrays(self._network, order.arrays)
        weights = clipping_weights(
            self._network,
            self._parts(),
            clip=order.clipping_norm,
            unit_size=self.canaries.each if self.together else 1,
        )
        along = (weights.repeat_interleave(len(behind) // len(weights)) * (behind - ahead)).numpy()
        self._evidence += along.reshape(len(self.canaries), -1).mean(1) / order.learning_rate

    def log_odds(self) -> NDArray[np.float64]:
        """For every canary the evidence for "in" over "out", (canaries,), in no particular unit."""
        return self._evidence

    def _losses(self, arrays: Arrays) -> Tensor:
        """Loss of every image (rows,), float64."""
        load_arrays(self._network, arrays)
        with torch.inference_mode():
            parts = [
                F.cross_entropy(self._network(inputs), labels, reduction="none")
                for inputs, labels in self._parts()
            ]
        return torch.cat(parts).double()

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        rows = max(1, ROWS // self.canaries.each) * self.canaries.each
        yield from zip(self._inputs.split(rows), self._labels.split(rows), strict=True)


def clipping_weights(
    network: nn.Module, parts: Iterator[tuple[Tensor, Tensor]], *, clip: float, unit_size: int
) -> Tensor:
    """By what the gradient of every unit is multiplied to keep within ``clip``, (units,), float64.

    Args:
        network: where gradients are taken; it is not changed.
        parts: inputs and labels, the rows of a unit one after the other.
        clip: L2 norm.
        unit_size: rows of a unit, whose mean gradient is clipped as one.
    """
    from fedward.common.opacus_mode import BookKeepingHooks  # Opacus takes seconds to import

    hooks = BookKeepingHooks(network, unit_size=unit_size)
    weights = []
    try:
        for inputs, labels in parts:
            torch.autograd.backward(F.cross_entropy(network(inputs), labels))
            (norms,) = hooks.book.norms()
            weights.append((clip / norms.double()).clamp(max=1.0))
            hooks.book.clear()
            network.zero_grad()
    finally:
        hooks.cleanup()
    return torch.cat(weights)
