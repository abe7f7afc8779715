"""The linear head: forward, clipped gradients, noisy mean; adversarial rows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fedward.common.errors import ConfigError
from fedward.common.linear import (
    BIAS_SCALE,
    CHUNK,
    CLASSES,
    LinearHead,
    noisy_gradient,
    noisy_mean,
    unit_rows,
)
from fedward.common.noise_source import NoiseSource, SecureNoise, SeededNoise, grid_of
from fedward.common.patients import patient_rows
from fedward.common.scattering import BOUND, FEATURES, SCATTERING
from fedward.common.train import StepPrivacy

TINY_NOISE = 1e-9  # a deviation that cannot be seen beside a clipped sum


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seeded(seed: int = 0) -> SeededNoise:
    return SeededNoise(generator(seed))


def a_head(seed: int = 0, width: int = FEATURES) -> LinearHead:
    """A head with statistics and weights as they are in the middle of a training."""
    head, g = LinearHead(SCATTERING), generator(seed)
    head.mean = torch.rand(width, generator=g)
    head.weight = torch.nn.Parameter(torch.randn(CLASSES, width, generator=g))
    head.bias = torch.nn.Parameter(torch.randn(CLASSES, generator=g))
    return head


def some(rows: int, seed: int = 1, width: int = FEATURES) -> tuple[Tensor, Tensor]:
    g = generator(seed)
    features = torch.rand(rows, width, generator=g)
    return features, torch.randint(0, CLASSES, (rows,), generator=g)


def mean_of(
    features: Tensor,
    *,
    declared: int,
    noise_multiplier: float | None,
    noise: NoiseSource | None = None,
) -> Tensor:
    return noisy_mean(
        features, bound=BOUND, declared=declared, noise_multiplier=noise_multiplier, noise=noise
    )


def joint_norm(weight: Tensor, bias: Tensor) -> float:
    return math.sqrt(float(weight.double().square().sum() + bias.double().square().sum()))


def test_forward_on_numbers_worked_out_by_hand() -> None:
    head = a_head(width=2)
    head.mean = torch.tensor([1.0, 2.0])
    with torch.no_grad():
        head.weight.zero_()
        head.weight[3] = torch.tensor([10.0, 1.0])
        head.bias.copy_(torch.arange(7.0))
    # (4, 6) -> (3, 4) -> (0.6, 0.8)
    logits = head(torch.tensor([[4.0, 6.0]]))
    expected = BIAS_SCALE * torch.arange(7.0)
    expected[3] += 6.8
    assert torch.allclose(logits, expected[None])


def test_state_that_travels() -> None:
    shapes = {
        name: tuple(tensor.shape) for name, tensor in LinearHead(SCATTERING).state_dict().items()
    }
    assert shapes == {
        "mean": (FEATURES,),
        "weight": (7, FEATURES),
        "bias": (7,),
    }


def test_a_new_head_knows_nothing() -> None:
    features, _ = some(4)
    assert torch.equal(LinearHead(SCATTERING)(features), torch.zeros(4, 7))


def test_exact_gradient_is_autograds() -> None:
    features, labels = some(CHUNK + 9, width=50)
    head = a_head(width=50)
    loss = torch.nn.functional.cross_entropy(head(features), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    weight, bias = noisy_gradient(head, features, labels, declared=len(labels), privacy=None)
    assert head.weight.grad is not None
    assert head.bias.grad is not None
    assert torch.allclose(weight, head.weight.grad, atol=1e-7)
    assert torch.allclose(bias, head.bias.grad, atol=1e-7)


def test_clipped_sum_matches_a_loop_over_images() -> None:
    features, labels = some(30, width=40)
    head = a_head(width=40)
    clip = 0.4
    total = torch.zeros(CLASSES, 41, dtype=torch.float64)
    for row, label in zip(features, labels, strict=True):
        weight, bias = noisy_gradient(head, row[None], label[None], declared=1, privacy=None)
        gradient = torch.cat([weight, bias[:, None]], 1).double()
        total += gradient * min(1, clip / float(gradient.norm()))
    privacy = StepPrivacy(noise_multiplier=TINY_NOISE, clipping_norm=clip)
    weight, bias = noisy_gradient(
        head, features, labels, declared=60, privacy=privacy, noise=seeded()
    )
    assert torch.allclose(weight, (total[:, :-1] / 60).float(), atol=1e-5)
    assert torch.allclose(bias, (total[:, -1] / 60).float(), atol=1e-5)


@given(
    magnitude=st.floats(-30, 38),
    clip=st.floats(1e-3, 2),
    label=st.integers(0, 6),
    seed=st.integers(0, 10**6),
    poison=st.sampled_from([None, math.nan, math.inf, -math.inf, 3e38]),
)
@settings(max_examples=150, deadline=None)
def test_no_image_adds_more_than_the_clipping_norm(
    magnitude: float, clip: float, label: int, seed: int, poison: float | None
) -> None:
    width = 60
    features = torch.randn(1, width, generator=generator(seed)) * 10**magnitude
    if poison is not None:
        features[0, seed % width] = poison
    privacy = StepPrivacy(noise_multiplier=TINY_NOISE, clipping_norm=clip)
    head = a_head(seed, width)
    weight, bias = noisy_gradient(
        head, features, torch.tensor([label]), declared=1, privacy=privacy, noise=seeded()
    )
    assert joint_norm(weight, bias) <= clip * (1 + 1e-6)


HOSTILE = {
    "huge": lambda row: 1e30 * row,
    "as large as numbers get": lambda row: 3e38 * (row - 0.5).sign(),
    "all equal": lambda row: torch.full_like(row, 3.0),
    "all equal and huge": lambda row: torch.full_like(row, 3e38),
    "all zero": torch.zeros_like,
    "the mean itself": lambda row: a_head().mean.expand_as(row),
    "not a number": lambda row: row.index_fill(1, torch.tensor([7]), math.nan),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_image_among_others_moves_neither_sum_by_more_than_its_bound(kind: str) -> None:
    features, labels = some(5)
    seen = torch.cat([features[:4], HOSTILE[kind](features[4:])])
    clip, head = 0.1, a_head()
    privacy = StepPrivacy(noise_multiplier=TINY_NOISE, clipping_norm=clip)

    def sums(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of two releases, with the same noise whoever takes part."""
        codes = labels[: len(rows)]
        mean = mean_of(rows, declared=1, noise_multiplier=TINY_NOISE, noise=seeded())
        weight, bias = noisy_gradient(
            head, rows, codes, declared=1, privacy=privacy, noise=seeded()
        )
        return mean, weight, bias

    mean, weight, bias = (a - b for a, b in zip(sums(seen), sums(features[:4]), strict=True))
    assert joint_norm(weight, bias) <= clip * (1 + 1e-5)
    assert float(mean.double().norm()) <= BOUND * (1 + 1e-5)
    if kind == "not a number":
        assert joint_norm(weight, bias) == float(mean.norm()) == 0


def test_rows_that_are_not_finite_add_nothing() -> None:
    features, labels = some(6, width=20)
    head = a_head(width=20)
    clean = noisy_gradient(head, features, labels, declared=6, privacy=None)
    poisoned = torch.cat([features, features[:3]])
    poisoned[6, 0], poisoned[7, 1], poisoned[8, 2] = math.nan, math.inf, 3e38
    dirty = noisy_gradient(
        head, poisoned, torch.cat([labels, labels[:3]]), declared=6, privacy=None
    )
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(clean, dirty, strict=True))
    exact = mean_of(features, declared=6, noise_multiplier=None)
    same = mean_of(poisoned, declared=6, noise_multiplier=None)
    assert torch.allclose(exact, same)


def test_no_images_still_give_noise() -> None:
    nothing, labels = torch.empty(0, 20), torch.empty(0, dtype=torch.int64)
    privacy = StepPrivacy(noise_multiplier=2.0, clipping_norm=0.5)
    weight, bias = noisy_gradient(
        a_head(width=20), nothing, labels, declared=10, privacy=privacy, noise=seeded()
    )
    assert joint_norm(weight, bias) > 0
    mean = mean_of(nothing, declared=10, noise_multiplier=1.0, noise=seeded())
    assert float(mean.abs().min()) > 0


def test_noise_has_its_deviation_and_its_own_seed() -> None:
    features, labels = some(3)
    head = a_head()
    privacy = StepPrivacy(noise_multiplier=3.0, clipping_norm=0.5)

    def gradient(seed: int) -> Tensor:
        return noisy_gradient(
            head, features, labels, declared=100, privacy=privacy, noise=seeded(seed)
        )[0]

    difference = gradient(1) - gradient(2)
    assert float(difference.std()) == pytest.approx(math.sqrt(2) * 1.5 / 100, rel=0.02)
    assert torch.equal(gradient(1), gradient(1))


class Listening(SeededNoise):
    """Remembers the sums that it is given."""

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        self.total = total.clone()
        return super().added_to(total, deviation)


def test_seeded_noise_is_bit_for_bit_what_it_always_was() -> None:
    """Noise of randn in float64, times the deviation, before division and float32."""
    features, labels = some(9)
    privacy = StepPrivacy(noise_multiplier=3.0, clipping_norm=0.7)
    source = Listening(generator(4))
    got = noisy_gradient(a_head(), features, labels, declared=8, privacy=privacy, noise=source)
    drawn = torch.randn(CLASSES, FEATURES + 1, generator=generator(4), dtype=torch.float64)
    wanted = ((source.total + drawn * (3.0 * 0.7)) / 8).float()
    assert torch.equal(got[0], wanted[:, :-1])
    assert torch.equal(got[1], wanted[:, -1])
    source = Listening(generator(4))
    mean = mean_of(features, declared=8, noise_multiplier=2.0, noise=source)
    drawn = torch.randn(FEATURES, generator=generator(4), dtype=torch.float64)
    assert torch.equal(mean, ((source.total + drawn * (2.0 * BOUND)) / 8).float())


def test_what_a_secure_source_gives_is_on_the_grid_before_division() -> None:
    features, labels = some(9, width=20)
    privacy = StepPrivacy(noise_multiplier=3.0, clipping_norm=0.7)
    weight, bias = noisy_gradient(
        a_head(width=20), features, labels, declared=1, privacy=privacy, noise=SecureNoise()
    )
    steps = torch.cat([weight, bias[:, None]], 1).double() / grid_of(3.0 * 0.7)
    assert torch.equal(steps, steps.round())


def test_exact_mean_over_a_public_size() -> None:
    features = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    assert mean_of(features, declared=2, noise_multiplier=None).tolist() == [
        2.0,
        1.0,
    ]
    assert mean_of(features, declared=4, noise_multiplier=None).tolist() == [
        1.0,
        0.5,
    ]


@given(
    magnitude=st.floats(-20, 38),
    seed=st.integers(0, 10**6),
    poison=st.sampled_from([None, math.nan, math.inf, 3e38]),
)
@settings(max_examples=100, deadline=None)
def test_no_image_moves_the_mean_by_more_than_the_bound(
    magnitude: float, seed: int, poison: float | None
) -> None:
    features = torch.randn(1, 60, generator=generator(seed)) * 10**magnitude
    if poison is not None:
        features[0, 7] = poison
    mean = mean_of(features, declared=1, noise_multiplier=TINY_NOISE, noise=seeded())
    assert float(mean.double().norm()) <= BOUND * (1 + 1e-6)


def test_noise_of_the_mean_has_its_deviation() -> None:
    features, _ = some(2)
    first = mean_of(features, declared=50, noise_multiplier=4.0, noise=seeded(1))
    second = mean_of(features, declared=50, noise_multiplier=4.0, noise=seeded(2))
    expected = math.sqrt(2) * BOUND * 4 / 50
    assert float((first - second).std()) == pytest.approx(expected, rel=0.04)


def test_privacy_without_noise_is_refused() -> None:
    features, labels = some(2, width=20)
    for sigma, source in ((0.0, seeded()), (math.nan, seeded()), (1.0, None)):
        privacy = StepPrivacy(noise_multiplier=sigma, clipping_norm=1.0)
        with pytest.raises(ConfigError, match="noise"):
            noisy_gradient(
                a_head(width=20), features, labels, declared=2, privacy=privacy, noise=source
            )
        with pytest.raises(ConfigError, match="noise"):
            mean_of(features, declared=2, noise_multiplier=sigma, noise=source)


def test_the_head_learns_two_separable_classes() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 2, 400))
    features = torch.from_numpy(rng.normal(size=(400, 30)).astype(np.float32))
    features[:, :5] += 2.0 * labels[:, None]
    head = a_head(width=30)
    head.mean = mean_of(features, declared=400, noise_multiplier=None)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        privacy = StepPrivacy(noise_multiplier=5.0, clipping_norm=0.5)
        noise = seeded()
        for _ in range(30):
            weight, bias = noisy_gradient(
                head, features, labels, declared=400, privacy=privacy, noise=noise
            )
            head.weight -= 20 * weight
            head.bias -= 20 * bias
    assert float((head(features).argmax(1) == labels).float().mean()) > 0.95


def test_clipped_sum_per_patient_matches_a_loop_over_patients() -> None:
    """Over chunks too: 150 patients with up to k images, which any draw takes."""
    features, labels = some(400, width=40)
    head = a_head(width=40)
    clip = 0.4
    numbers = np.random.default_rng(0).permutation(np.repeat(np.arange(160), [1, 2, 3, 4] * 40))
    total = torch.zeros(CLASSES, 41, dtype=torch.float64)
    for patient in range(160):
        own = torch.from_numpy(numbers == patient)
        weight, bias = noisy_gradient(
            head, features[own], labels[own], declared=int(own.sum()), privacy=None
        )
        gradient = torch.cat([weight, bias[:, None]], 1).double()
        total += gradient * min(1, clip / float(gradient.norm()))
    privacy = StepPrivacy(noise_multiplier=TINY_NOISE, clipping_norm=clip)
    weight, bias = noisy_gradient(
        head,
        features,
        labels,
        declared=60,
        privacy=privacy,
        noise=seeded(),
        patients=patient_rows(numbers, records=4).once_each(generator()),
    )
    assert torch.allclose(weight, (total[:, :-1] / 60).float(), atol=1e-5)
    assert torch.allclose(bias, (total[:, -1] / 60).float(), atol=1e-5)


def test_where_every_patient_has_one_image_the_unit_makes_no_difference() -> None:
    features, labels = some(CHUNK + 9, width=50)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=0.3)
    released = []
    for whose in (None, patient_rows(np.arange(len(labels)), records=4)):
        parts = [None if whose is None else list(whose.once_each(generator())) for _ in "ab"]
        gradient = noisy_gradient(
            a_head(width=50),
            features,
            labels,
            declared=300,
            privacy=privacy,
            noise=seeded(),
            patients=parts[0],
        )
        mean = noisy_mean(
            features,
            bound=BOUND,
            declared=300,
            noise_multiplier=1.0,
            noise=seeded(),
            patients=parts[1],
        )
        released.append((*gradient, mean))
    assert all(torch.equal(one, other) for one, other in zip(*released, strict=True))


def test_unit_rows_have_length_one_or_zero() -> None:
    features, _ = some(5, width=10)
    features[2] = math.nan
    rows = unit_rows(features, torch.zeros(10))
    norms = rows.norm(dim=1)
    assert torch.allclose(norms, torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]))
