"""Scores of predicted emotions. Class order is FER-2013's code order throughout."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fedward.common.errors import DataError
from fedward.common.faces import EMOTIONS
from fedward.common.result import ClassPart, TestPart

Codes = NDArray[np.int64]


def score(split: str, labels: Codes, predicted: Codes) -> TestPart:
    """All scores of one split.

    Args:
        split: its name.
        labels, predicted: emotion codes, shape (n,), n > 0.

    Returns:
        Fractions. An emotion that was never predicted has precision 0, one that never occurs has
        recall 0; the macro-F1 is the mean over the emotions that occur among the labels, so that a
        hospital which never saw one is not marked down for it.

    Raises:
        DataError: there is nothing to score.
    """
    if len(labels) == 0:
        raise DataError(f"{split} has no faces to score a model on")
    codes = np.arange(len(EMOTIONS))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=codes, zero_division=0
    )
    return TestPart(
        split=split,
        accuracy=float(np.mean(labels == predicted)),
        macro_f1=float(f1[support > 0].mean()),
        per_class={
            emotion: ClassPart(
                precision=float(precision[code]),
                recall=float(recall[code]),
                f1=float(f1[code]),
                support=int(support[code]),
            )
            for code, emotion in enumerate(EMOTIONS)
        },
        confusion=confusion_matrix(labels, predicted, labels=codes).tolist(),
    )


def cross_entropy(labels: Codes, probabilities: NDArray[np.float32]) -> float:
    """Mean of -log p(label) in nats; probabilities (n, 7) are floored at 1e-7."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())
