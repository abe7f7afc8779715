"""Scores of predicted emotions. Class order is FER-2013's code order throughout."""

import numpy as np
from numpy.typing import NDArray

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
    confusion = confusion_matrix(labels, predicted)
    right, support, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = share(right, answered), share(right, support)
    f1 = share(2 * right, support + answered)
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
        confusion=confusion.tolist(),
    )


def confusion_matrix(labels: Codes, predicted: Codes) -> Codes:
    """How many faces of each emotion (row) got each answer (column), shape (7, 7)."""
    kinds = len(EMOTIONS)
    pairs = np.bincount(kinds * labels + predicted, minlength=kinds**2)
    return pairs.reshape(kinds, kinds)


def share(part: Codes, whole: Codes) -> NDArray[np.float64]:
    """Part by whole, element by element; 0 of nothing."""
    return part / np.maximum(whole, 1)


def cross_entropy(labels: Codes, probabilities: NDArray[np.float32]) -> float:
    """Mean of -log p(label) in nats; probabilities (n, 7) are floored at 1e-7."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())
