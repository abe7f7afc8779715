"""Orders carried out at one hospital."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fedward.client.local import carry_out, rehearse
from fedward.client.site import Site
from fedward.common.arrays import Arrays, read_arrays, save_arrays
from fedward.common.config import ModelName, TrainingConfig
from fedward.common.errors import ModelError
from fedward.common.faces import FaceSet
from fedward.common.messages import Order, Task
from fedward.server.evaluate import initial_arrays

ON_FEATURES = ("scatter", "vgg16")


def site(name: str = "hospital-1", count: int = 20) -> Site:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (count, 48, 48)).astype(np.uint8)
    return Site(name, 20, FaceSet(images, np.arange(count) % 7, np.arange(count)), None)


def order(
    model: str,
    arrays: Arrays,
    *,
    noise: float | None = None,
    number: int = 2,
    task: Task = "train",
    batch: int = 8,
    rate: float = 0.01,
) -> Order:
    return Order(
        round=number,
        task=task,
        arrays=arrays,
        training=TrainingConfig(model=model, batch_size=batch),
        learning_rate=rate,
        resolution=48,
        noise_multiplier=noise,
        clipping_norm=0.5,
        seed=1,
    )


@pytest.mark.parametrize("noise", [None, 1.0])
def test_a_network_is_trained_and_only_differences_leave(noise: float | None) -> None:
    arrays = initial_arrays(TrainingConfig(model="lstm"), 0)
    update = carry_out(order("lstm", arrays, noise=noise), site())
    assert set(update.arrays) == set(arrays)
    assert any(np.abs(array).max() > 0 for array in update.arrays.values())
    again = carry_out(order("lstm", arrays, noise=noise), site())
    for name, array in update.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes()


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("model", ON_FEATURES)
def test_hospitals_and_rounds_have_noise_of_their_own(model: str) -> None:
    arrays = initial_arrays(TrainingConfig(model=model), 0)
    updates = [
        carry_out(order(model, arrays, noise=1.0, number=n, batch=0), site(name, 7))
        for n, name in ((2, "hospital-1"), (3, "hospital-1"), (2, "hospital-2"))
    ]
    weights = [update.arrays["weight"] for update in updates]
    assert not np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("model", ON_FEATURES)
def test_the_statistics_round_moves_moments_alone(model: str) -> None:
    arrays = initial_arrays(TrainingConfig(model=model), 0)
    update = carry_out(order(model, arrays, task="statistics", number=1, batch=0), site())
    assert np.abs(update.arrays["mean"]).max() > 0
    assert np.abs(update.arrays["mean"]).max() > 0
    assert not update.arrays["weight"].any()
    assert not update.arrays["bias"].any()


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("model", ON_FEATURES)
def test_gradient_rounds_leave_moments_alone_and_lower_the_loss(model: str) -> None:
    arrays = initial_arrays(TrainingConfig(model=model), 0)
    first = carry_out(order(model, arrays, task="statistics", number=1, batch=0), site())
    arrays = {name: array + first.arrays[name] for name, array in arrays.items()}
    update = carry_out(order(model, arrays, batch=0, rate=5.0), site())
    assert not update.arrays["mean"].any()
    assert update.arrays["weight"].any()


def test_foreign_arrays_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit"):
        carry_out(order("lstm", {"w": np.zeros(2, np.float32)}), site())


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("task", ["statistics", "train"])
def test_a_hospital_with_other_weights_of_vgg16_takes_no_part(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vgg16_file: Path
) -> None:
    arrays = initial_arrays(TrainingConfig(model="vgg16"), 0)
    other = read_arrays(vgg16_file)
    other["features.0.bias"][0] += 1
    save_arrays(tmp_path / "other.safetensors", other)
    monkeypatch.setenv("FEDWARD_VGG16", str(tmp_path / "other.safetensors"))
    both = (
        r"'needs_vgg16_weights_\w{16}' is missing .* 'needs_vgg16_weights_\w{16}' is there instead"
    )
    with pytest.raises(ModelError, match=both):
        carry_out(order("vgg16", arrays, task=task, batch=0), site())


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("model", ["compact-cnn", "thesis-lstm", "scatter", "vgg16"])
def test_a_rehearsal_does_what_an_order_does_and_leaves_randomness_alone(
    model: ModelName, private: bool
) -> None:
    before = torch.random.get_rng_state()
    rehearse(TrainingConfig(model=model, batch_size=32), private=private)
    assert torch.equal(torch.random.get_rng_state(), before)
