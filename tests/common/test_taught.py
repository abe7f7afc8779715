"""What is shipped fits the models that start from it."""

import numpy as np
import pytest

from fedward.common.arrays import read_arrays, to_arrays
from fedward.common.config import STARTS_FROM_DRAWINGS
from fedward.common.models import build
from fedward.common.taught import FILES, taught_arrays


def test_the_configuration_knows_who_can_start_from_drawings() -> None:
    assert set(FILES) == STARTS_FROM_DRAWINGS


@pytest.mark.parametrize("model", FILES)
def test_arrays_fit_the_model(model: str) -> None:
    own = to_arrays(build(model, seed=0))
    taught = taught_arrays(model, own)
    assert {name: a.shape for name, a in taught.items()} == {n: own[n].shape for n in taught}
    assert all(np.isfinite(array).all() for array in taught.values())
    assert "head.weight" not in taught


def test_nothing_is_shipped_that_nobody_uses() -> None:
    used = {
        name
        for model, path in FILES.items()
        if path == FILES["lstm"]
        for name in taught_arrays(model, to_arrays(build(model, seed=0)))
    }
    assert used == set(read_arrays(FILES["lstm"]))
