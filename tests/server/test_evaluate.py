"""What round 1 starts from."""

import numpy as np
import pytest

from fedward.common.arrays import load_arrays
from fedward.common.config import ModelName, TrainingConfig
from fedward.common.models import build, network_inputs
from fedward.common.muscle_net import MuscleNet, shipped_net
from fedward.common.scattering import standardised
from fedward.server.evaluate import initial_arrays


@pytest.mark.parametrize(
    ("model", "modules"), [("compact-cnn", len(MuscleNet().convolutions)), ("cnn-lstm", 4)]
)
def test_a_start_from_drawings_sees_what_the_taught_network_sees(
    model: ModelName, modules: int
) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    arrays = initial_arrays(TrainingConfig(model=model, start="drawings"), 0)
    network = build(model, seed=1)
    load_arrays(network, arrays)
    inputs = network_inputs(model, faces, cache=None)
    np.testing.assert_allclose(inputs.numpy(), standardised(faces).numpy(), atol=1e-3)
    seen = network.get_submodule("convolutions")[:modules](inputs)  # type: ignore[index]
    taught = shipped_net().convolutions[:modules](inputs)
    np.testing.assert_array_equal(seen.detach().numpy(), taught.detach().numpy())


def test_what_was_not_taught_is_drawn_from_the_seed() -> None:
    random = initial_arrays(TrainingConfig(model="compact-cnn"), 5)
    taught = initial_arrays(TrainingConfig(model="compact-cnn", start="drawings"), 5)
    assert random.keys() == taught.keys()
    same = {name for name in random if np.array_equal(random[name], taught[name])}
    assert {"head.weight", "head.bias", "convolutions.6.0.weight"} <= same
    assert not any(name.startswith("convolutions.1.0.") for name in same)


def test_a_taught_lstm_starts_with_its_recurrences() -> None:
    random = initial_arrays(TrainingConfig(model="lstm"), 5)
    taught = initial_arrays(TrainingConfig(model="lstm", start="drawings"), 5)
    same = {name for name in random if np.array_equal(random[name], taught[name])}
    assert same == {"head.weight", "head.bias"}
