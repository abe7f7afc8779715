"""Scoring a global model on faces that the aggregator holds (public or simulated test data)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.common.arrays import Arrays, load_arrays, to_arrays
from fedward.common.augment import resized
from fedward.common.config import TrainingConfig
from fedward.common.faces import SIDE, FaceSet
from fedward.common.metrics import cross_entropy, score
from fedward.common.models import build, network_inputs, predict
from fedward.common.result import TestPart
from fedward.common.taught import taught_arrays


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on a test set.

    Attributes:
        loss: mean negative log-likelihood in nats.
        test: accuracy, macro-F1, per-class scores and the confusion matrix.
        probabilities: float32, shape (n, 7).
    """

    loss: float
    test: TestPart
    probabilities: NDArray[np.float32]


class Examiner:
    """Holds a test set, ready for a model by name, and scores arrays on it.

    Args:
        model: the model's name.
        split: what the test set is called in reports.
        faces: the test faces.
        cache: folder for features computed once; None computes them every time.
    """

    def __init__(self, model: str, split: str, faces: FaceSet, cache: Path | None) -> None:
        self.faces = faces
        self._name = model
        self._split = split
        self._inputs = network_inputs(model, faces.images, cache=cache)
        self._model = build(model, seed=0)

    def check(self, arrays: Arrays) -> None:
        """Raises ModelError when the arrays do not fit the model."""
        load_arrays(self._model, arrays)

    def score(self, arrays: Arrays, side: int = SIDE) -> Evaluation:
        """Score a model, at the resolution that it is trained on so far.

        Raises:
            ModelError: when the arrays do not fit the model.
        """
        load_arrays(self._model, arrays)
        inputs = self._inputs if side == SIDE else resized(self._inputs, side)
        probabilities = predict(self._name, self._model, inputs)
        loss = cross_entropy(self.faces.labels, probabilities)
        test = score(self._split, self.faces.labels, probabilities.argmax(axis=1))
        return Evaluation(loss, test, probabilities)


def initial_arrays(training: TrainingConfig, seed: int) -> Arrays:
    """The model that round 1 starts from: untrained, or taught on drawings as far as it goes."""
    arrays = to_arrays(build(training.model, seed=seed))
    if training.start == "drawings":
        arrays |= taught_arrays(training.model, arrays)
    return arrays
