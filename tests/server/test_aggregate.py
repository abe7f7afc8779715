"""Averaging, checked by hand and by property."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedward.common.arrays import Arrays
from fedward.common.errors import UpdateError
from fedward.server.aggregate import (
    ExactMean,
    ServerState,
    adopt,
    fold_average,
    scheduled,
    step,
    warmed,
)


def one(*values: float) -> Arrays:
    return {"w": np.array(values, np.float32)}


def test_the_mean_is_weighted_by_public_size() -> None:
    mean = ExactMean(one(0, 0), cohort_size=400)
    mean.fold(one(1, 2), 100)
    mean.fold(one(5, -2), 300)
    np.testing.assert_allclose(mean.mean()["w"], [4.0, -1.0])


def test_absent_hospitals_do_not_pull_the_mean_to_zero() -> None:
    mean = ExactMean(one(0), cohort_size=1000)
    mean.fold(one(3), 10)
    np.testing.assert_allclose(mean.mean()["w"], [3.0], rtol=1e-6)


def test_nothing_folded_has_no_mean() -> None:
    with pytest.raises(UpdateError, match="no update"):
        ExactMean(one(0), 10).mean()


@settings(max_examples=50, deadline=None)
@given(
    updates=st.lists(
        st.tuples(
            st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), st.integers(1, 10**6)
        ),
        min_size=2,
        max_size=8,
    ),
    order=st.randoms(use_true_random=False),
)
def test_any_order_of_arrival_gives_the_same_bits(
    updates: list[tuple[list[float], int]], order: "object"
) -> None:
    cohort = sum(size for _, size in updates)
    shuffled = list(updates)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    means = []
    for sequence in (updates, shuffled):
        mean = ExactMean(one(0, 0, 0), cohort)
        for values, size in sequence:
            mean.fold(one(*values), size)
        means.append(mean.mean()["w"])
    assert means[0].tobytes() == means[1].tobytes()
    expected = sum(np.float64(size) * np.array(v) for v, size in updates) / cohort
    np.testing.assert_allclose(means[0], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        ({}, "w"),
        ({"w": np.zeros(3, np.float32)}, "shape"),
        ({"w": np.zeros(2, np.float64)}, "float64"),
        ({"w": np.array([0, np.nan], np.float32)}, "NaN"),
        ({"w": np.array([0, np.inf], np.float32)}, "NaN or infinity"),
        ({"w": np.array([0, 1e30], np.float32)}, "or more"),
        ({"w": np.zeros(2, np.float32), "x": np.zeros(1, np.float32)}, "x"),
    ],
)
def test_a_bad_update_is_refused_and_leaves_no_trace(update: Arrays, complaint: str) -> None:
    mean = ExactMean(one(0, 0), 20)
    mean.fold(one(1, 1), 10)
    with pytest.raises(UpdateError, match=complaint):
        mean.fold(update, 10)
    np.testing.assert_allclose(mean.mean()["w"], [1, 1])


def test_a_plain_step_adds_the_mean() -> None:
    state = step(ServerState(0, one(1, 1)), one(2, -4), learning_rate=0.5, momentum=0.0)
    np.testing.assert_allclose(state.arrays["w"], [2, -1])
    assert state.round == 1
    assert state.momentum is None


def test_nesterov_momentum_by_hand() -> None:
    state = ServerState(0, one(0))
    state = step(state, one(1), learning_rate=1.0, momentum=0.5)  # v=1, step 1+.5
    np.testing.assert_allclose(state.arrays["w"], [1.5])
    state = step(state, one(1), learning_rate=1.0, momentum=0.5)  # v=1.5, step 1+.75
    np.testing.assert_allclose(state.arrays["w"], [3.25])


def test_statistics_go_past_the_optimiser() -> None:
    state = adopt(ServerState(0, one(1)), one(2))
    np.testing.assert_allclose(state.arrays["w"], [3])
    assert state.momentum is None


def test_the_released_model_is_the_running_mean() -> None:
    state = ServerState(1, one(1))
    assert state.released() is state.arrays
    state = fold_average(state)
    state = fold_average(ServerState(2, one(4), None, state.average, state.averaged))
    state = fold_average(ServerState(3, one(7), None, state.average, state.averaged))
    np.testing.assert_allclose(state.released()["w"], [4])


def test_schedules() -> None:
    assert scheduled(2.0, "constant", 7, 10) == 2.0
    assert scheduled(2.0, "cosine", 1, 10) == 2.0
    assert scheduled(2.0, "cosine", 6, 10) == pytest.approx(1.0)
    assert warmed(1.0, 0.5, 1, 10) == pytest.approx(0.1)
    assert warmed(1.0, 0.5, 6, 10) == pytest.approx(1.0)
    assert warmed(1.0, 0.0, 1, 10) == 1.0
