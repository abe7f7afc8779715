import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fedward.common.errors import DataError
from fedward.common.metrics import cross_entropy, score


def test_scores_of_four_faces_by_hand():
    part = score("PublicTest", np.array([0, 0, 3, 3]), np.array([0, 3, 3, 3]))
    assert part.split == "PublicTest"
    assert part.accuracy == 0.75
    angry, happy, fear = (part.per_class[name] for name in ("angry", "happy", "fear"))
    assert (angry.precision, angry.recall, angry.support) == (1.0, 0.5, 2)
    assert angry.f1 == pytest.approx(2 / 3)
    assert (happy.precision, happy.recall) == (pytest.approx(2 / 3), 1.0)
    assert (fear.precision, fear.recall, fear.f1, fear.support) == (0, 0, 0, 0)
    assert part.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert part.confusion[0] == [1, 0, 0, 1, 0, 0, 0]
    assert part.confusion[3] == [0, 0, 0, 2, 0, 0, 0]
    assert sum(map(sum, part.confusion)) == 4


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_the_confusion_matrix_explains_the_scores(pairs):
    labels, predicted = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    part = score("PrivateTest", labels, predicted)
    confusion = np.array(part.confusion)
    assert confusion.trace() / len(labels) == pytest.approx(part.accuracy)
    assert confusion.sum(1).tolist() == [c.support for c in part.per_class.values()]
    assert 0 <= part.macro_f1 <= 1


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs):
    labels, predicted = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    part = score("PrivateTest", labels, predicted)
    codes = np.arange(7)
    known = precision_recall_fscore_support(labels, predicted, labels=codes, zero_division=0)
    ours = [[c.precision, c.recall, c.f1, c.support] for c in part.per_class.values()]
    assert np.array_equal(np.transpose(ours), known)
    assert np.array_equal(part.confusion, confusion_matrix(labels, predicted, labels=codes))


def test_nothing_cannot_be_scored():
    with pytest.raises(DataError, match="PublicTest has no faces"):
        score("PublicTest", np.array([], np.int64), np.array([], np.int64))


def test_cross_entropy_by_hand_and_with_a_floor():
    probabilities = np.array([[0.5, 0.5, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]], np.float32)
    assert cross_entropy(np.array([0, 0]), probabilities) == pytest.approx(math.log(2) / 2)
    assert cross_entropy(np.array([1, 1]), probabilities) == pytest.approx(
        (math.log(2) - math.log(1e-7)) / 2
    )
