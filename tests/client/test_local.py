"""Orders carried out at one hospital."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedward.client.local import carry_out, randomness, rehearse
from fedward.client.site import Randomness, Site
from fedward.common.arrays import Arrays, read_arrays, save_arrays
from fedward.common.config import ModelName, TrainingConfig, Unit
from fedward.common.errors import ModelError
from fedward.common.faces import FaceSet
from fedward.common.messages import Order, Task
from fedward.common.models import MODELS, is_linear
from fedward.common.scattering import BOUND
from fedward.server.evaluate import initial_arrays

ON_FEATURES = ("scatter", "vgg16")


def site(
    name: str = "hospital-1",
    count: int = 20,
    *,
    unit: Unit = "image",
    images_each: int = 1,
    randomness: Randomness = "seeded",
) -> Site:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (count, 48, 48)).astype(np.uint8)
    faces = FaceSet(images, np.arange(count) % 7, np.arange(count) // images_each)
    return Site(name, 20, faces, None, unit, randomness=randomness)


def order(
    model: str,
    arrays: Arrays,
    *,
    noise: float | None = None,
    number: int = 2,
    task: Task = "train",
    batch: int = 8,
    rate: float = 0.01,
    records: int | None = None,
    optimizer: Literal["adamw", "sgd"] = "adamw",
) -> Order:
    return Order(
        round=number,
        task=task,
        arrays=arrays,
        training=TrainingConfig(model=model, batch_size=batch, optimizer=optimizer),
        learning_rate=rate,
        resolution=48,
        noise_multiplier=noise,
        clipping_norm=0.5,
        records_per_patient=records,
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


PATTERNS = {
    "noise": lambda rng: rng.integers(0, 256, (48, 48)),
    "black and white": lambda rng: 255 * rng.integers(0, 2, (48, 48)),
    "halves": lambda rng: 255 * (np.arange(48) < rng.integers(1, 48)) * np.ones((48, 1)),
    "one bright pixel": lambda rng: 255 * (np.arange(2304) == rng.integers(2304)).reshape(48, 48),
    "blank": lambda rng: np.full((48, 48), rng.integers(0, 256)),
}


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize(
    ("model", "task"),
    [
        *((name, "train") for name in MODELS),
        *((name, "statistics") for name in MODELS if is_linear(name)),
    ],
)
@given(
    faces=st.lists(
        st.tuples(st.sampled_from(sorted(PATTERNS)), st.integers(0, 2), st.integers(0, 6)),
        min_size=1,
        max_size=5,
    ),
    records=st.integers(1, 4),
)
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_one_patients_faces_move_an_update_by_the_bound_at_most(
    model: ModelName, task: Task, faces: list[tuple[str, int, int]], records: int
) -> None:
    """From faces to what leaves: every model and task, with hardly any noise and one step in which
    everybody takes part, of one patient, however many faces."""
    images = np.stack([PATTERNS[kind](np.random.default_rng(seed)) for kind, seed, _ in faces])
    labels = np.array([label for _, _, label in faces])
    patient = FaceSet(images.astype(np.uint8), labels, np.full(len(faces), 5))
    size, rate = 10, 1e5  # so large that float32's rounding of the difference is nothing beside it
    work = order(
        model,
        initial_arrays(TrainingConfig(model=model), 0),
        noise=1e-9,
        task=task,
        batch=0,
        rate=rate,
        records=records,
        optimizer="sgd",
    )
    update = carry_out(work, Site("hospital-1", size, patient, None, "patient"))
    squared = sum(float(np.square(a, dtype=np.float64).sum()) for a in update.arrays.values())
    moved, bound = np.sqrt(squared) * size, 0.5 * rate
    if task == "statistics":
        features = MODELS[model].features
        assert features is not None
        bound = features().bound
    assert moved <= bound * (1 + 1e-6)


@pytest.mark.parametrize("model", ["lstm", "scatter"])
def test_orders_per_patient_are_repeatable_and_draw_records_of_their_own(model: ModelName) -> None:
    arrays = initial_arrays(TrainingConfig(model=model), 0)
    patients = site(unit="patient", images_each=5)
    task = order(model, arrays, noise=1.0, records=2)
    first, again = (carry_out(task, patients).arrays for _ in range(2))
    more = carry_out(order(model, arrays, noise=1.0, records=3), patients).arrays
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], more[name]) for name in first)


def test_an_order_for_another_unit_is_refused_before_anything_is_trained() -> None:
    arrays = initial_arrays(TrainingConfig(model="lstm"), 0)
    per_patient = site(unit="patient", images_each=5)
    with pytest.raises(ModelError, match="protects every image, and this hospital's size counts p"):
        carry_out(order("lstm", arrays, noise=1.0), per_patient)
    with pytest.raises(ModelError, match=r"protects every patient, .* ask with privacy.unit image"):
        carry_out(order("lstm", arrays, noise=1.0, records=2), site())
    with pytest.raises(ModelError, match="100000 records of a patient in one step"):
        carry_out(order("lstm", arrays, noise=1.0, records=100_000), per_patient)
    carry_out(order("lstm", arrays), per_patient)  # without privacy there is no unit


def test_a_hospital_is_secure_unless_told_otherwise() -> None:
    blank = site().faces
    assert Site("hospital-1", 20, blank, None).randomness == "secure"


@pytest.mark.parametrize("model", ["lstm", "scatter"])
def test_no_order_carried_out_securely_can_be_repeated(model: ModelName) -> None:
    arrays = initial_arrays(TrainingConfig(model=model), 0)
    task = order(model, arrays, noise=1.0)
    first, again = (carry_out(task, site(randomness="secure")).arrays for _ in range(2))
    moved = [name for name in first if first[name].any()]
    assert moved
    assert not any(np.array_equal(first[name], again[name]) for name in moved)


def test_who_knows_the_seed_subtracts_seeded_noise_and_no_other() -> None:
    """The server chose the seed; the mean of a hospital's features is what it should not learn."""
    arrays = initial_arrays(TrainingConfig(model="scatter"), 0)
    task = order("scatter", arrays, noise=1.0, task="statistics", number=1, batch=0)
    exact = order("scatter", arrays, task="statistics", number=1, batch=0)
    secret = carry_out(exact, site()).arrays["mean"]
    _, same = randomness(task, site())
    noise = same.added_to(torch.zeros(len(secret), dtype=torch.float64), BOUND).numpy() / 20
    off = {}
    for kind in ("seeded", "secure"):
        found = carry_out(task, site(randomness=kind)).arrays["mean"] - noise
        off[kind] = float(np.abs(found - secret).max())
    assert off["seeded"] < 1e-5
    assert off["secure"] > 1000 * off["seeded"]


def test_neither_batches_nor_coins_follow_the_order_at_a_secure_hospital() -> None:
    task = order("lstm", initial_arrays(TrainingConfig(model="lstm"), 0), noise=1.0)
    for kind, equal in (("seeded", True), ("secure", False)):
        (one, coins), (other, more) = (randomness(task, site(randomness=kind)) for _ in "ab")
        assert torch.equal(coins.coins(9), more.coins(9)) == equal
        assert torch.equal(torch.rand(9, generator=one), torch.rand(9, generator=other)) == equal


class Counting(torch.nn.Flatten):
    """Keeps the sum of all that it has seen, as a layer of the future might."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += images.detach().sum()
        return super().forward(images)


def counting(name: str, *, seed: int) -> torch.nn.Module:
    return torch.nn.Sequential(Counting(), torch.nn.Linear(48 * 48, 7))


def test_what_changes_without_noise_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedward.client.local.build", counting)
    shapes = {"0.seen": (1,), "1.weight": (7, 48 * 48), "1.bias": (7,)}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert carry_out(order("compact-cnn", arrays), site()).arrays["0.seen"] != 0
    with pytest.raises(ModelError, match=r"0\.seen changed in private training without noise"):
        carry_out(order("compact-cnn", arrays, noise=1.0), site())
