"""Membership by loss: areas and shares by hand, against scikit-learn, and their spread."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedward.sims.audit_attack import attack, auc, found


def test_areas_by_hand() -> None:
    low, high = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert auc(low, high) == 1
    assert auc(high, low) == 0
    assert auc(low, low) == 0.5
    assert auc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == (1 + 1 + 0 + 0.5) / 4


def test_areas_agree_with_another_implementation() -> None:
    rng = np.random.default_rng(0)
    members, others = np.round(rng.normal(0, 1, 70), 1), np.round(rng.normal(0.4, 1, 50), 1)
    names = np.repeat([1, 0], [70, 50])
    area = roc_auc_score(names, -np.concatenate([members, others]))
    assert auc(members, others) == pytest.approx(area, rel=1e-12)


def test_one_false_alarm_in_a_hundred_is_let_pass() -> None:
    others = np.arange(200.0)  # two may be taken for members: 0 and 1
    assert found(np.array([-1.0, 1.5, 2.0, 7.0]), others) == 0.5
    assert found(np.array([0.5, -1.0]), np.arange(50.0)) == 0.5  # none may: below 0


def test_the_spread_holds_the_value_and_shrinks_with_more() -> None:
    rng = np.random.default_rng(1)
    wide, narrow = (
        attack(rng.normal(0, 1, n), rng.normal(1, 1, n), np.random.default_rng(2)).auc
        for n in (100, 3000)
    )
    for spread in (wide, narrow):
        assert spread.low < spread.value < spread.high
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3
    assert narrow.low < 0.760 < narrow.high  # Phi(1 / sqrt 2)


def test_the_same_randomness_gives_the_same_spread() -> None:
    losses = np.arange(30.0)
    one, two = (attack(losses, losses + 3, np.random.default_rng(5)) for _ in range(2))
    assert one == two
