"""What one patient adds to a sum before noise never exceeds the clipping norm.

Whatever the patient's records hold, however many there are, for every model of the registry and
every route: steps of networks, steps of the linear head, and the mean of its features.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedward.common.linear import BIAS_SCALE, LinearHead, noisy_gradient, noisy_mean
from fedward.common.models import MODELS, build, is_linear, reads_features
from fedward.common.noise_source import SeededNoise
from fedward.common.patients import PatientRows, patient_rows
from fedward.common.scattering import FEATURES, SCATTERING
from fedward.common.train import FitPlan, StepPrivacy, fit

CLIP = 0.1
NO_NOISE = StepPrivacy(noise_multiplier=0.0, clipping_norm=CLIP)
TINY_NOISE = 1e-9  # the linear head refuses none
PLAN = FitPlan(
    epochs=1, batch_size=0, optimizer="sgd", learning_rate=0.5, expected_examples=6, momentum=0.0
)
NETWORKS = [name for name in MODELS if not is_linear(name)]
HEADS = [name for name in MODELS if is_linear(name)]
RECORDS = {
    "usual": lambda row: row,
    "huge": lambda row: 1e30 * row,
    "as large as numbers get": lambda row: 3e38 * row.sign(),
    "large": lambda row: 1e4 * row,
    "one huge number": lambda row: row.index_fill(0, torch.tensor([7]), -3e38),
    "the opposite": lambda row: -row,
    "all equal": lambda row: torch.full_like(row, 3.0),
    "all equal and huge": lambda row: torch.full_like(row, 3e38),
    "all zero": torch.zeros_like,
    "tiny": lambda row: 1e-30 * row,
}
NOT_FINITE = {
    "not a number": lambda row: row.index_fill(0, torch.tensor([3]), math.nan),
    "infinite": lambda row: row.index_fill(0, torch.tensor([3]), -math.inf),
}
an_adversary = st.lists(
    st.tuples(st.sampled_from(sorted(RECORDS)), st.integers(0, 3), st.integers(0, 6)),
    min_size=1,
    max_size=6,
)
a_worse_one = st.lists(
    st.tuples(st.sampled_from(sorted(RECORDS | NOT_FINITE)), st.integers(0, 3), st.integers(0, 6)),
    min_size=1,
    max_size=6,
)
Recipe = list[tuple[str, int, int]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class NoNoise(SeededNoise):
    """Coins alone: what it is given comes back as it is."""

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        return total.clone()


def made(recipe: Recipe, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Records of (kind, seed, label); equal seeds make records that agree, or cancel."""
    rows = [
        (RECORDS | NOT_FINITE)[kind](torch.randn(math.prod(shape), generator=generator(seed)))
        for kind, seed, _ in recipe
    ]
    return torch.stack(rows).view(-1, *shape), torch.tensor([label for _, _, label in recipe])


def shape_of(name: str) -> tuple[int, ...]:
    return (FEATURES,) if reads_features(name) else (1, 48, 48)


def one_patient(count: int, k: int) -> PatientRows:
    return patient_rows(np.zeros(count, np.int64), records=k)


def length(tensors: list[Tensor]) -> float:
    return float(torch.stack([t.double().square().sum() for t in tensors]).sum().sqrt())


def summed(model: nn.Module, rows: Tensor, labels: Tensor, patients: PatientRows) -> list[Tensor]:
    """The clipped sum of one step in which everybody takes part, as the optimiser gets it."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # other rows would draw other masks
    randomness = {"batches": generator(), "noise": NoNoise(generator())}
    fit(model, rows, labels, PLAN, privacy=NO_NOISE, patients=patients, **randomness)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    gradients = [p.grad for p in model.parameters()]
    return [PLAN.expected_examples * g.double() for g in gradients if g is not None]


@pytest.mark.parametrize("name", NETWORKS)
@given(recipe=an_adversary, k=st.integers(1, 4))
@settings(max_examples=5, deadline=None)
def test_in_a_step_of_a_network(name: str, recipe: Recipe, k: int) -> None:
    """What is not finite never reaches a step (tests/common/test_train.py)."""
    rows, labels = made(recipe, shape_of(name))
    assert length(summed(build(name, seed=0), rows, labels, one_patient(len(rows), k))) <= CLIP


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["usual", "large", "as large as numbers get"])
def test_without_one_patient_a_networks_step_moves_by_the_clipping_norm_at_most(
    name: str, kind: str
) -> None:
    """All else is equal: everybody takes part, and the others have one record, or k, so that the
    draw chooses nothing."""
    rows, labels = made([("usual", seed, seed % 7) for seed in range(3 + 5)], shape_of(name))
    numbers = np.array([0, 1, 1, 2, 2, 2, 2, 2])
    rows[3:] = torch.stack([RECORDS[kind](row.flatten()).view_as(row) for row in rows[3:]])
    stays = numbers < 2
    with_all = summed(build(name, seed=0), rows, labels, patient_rows(numbers, records=2))
    without = summed(
        build(name, seed=0), rows[:3], labels[:3], patient_rows(numbers[stays], records=2)
    )
    moved = length([one - other for one, other in zip(with_all, without, strict=True)])
    assert moved <= CLIP * (1 + 1e-5)
    if kind == "usual":
        assert moved > CLIP / 4


def test_without_one_patient_the_coins_of_all_others_are_the_same() -> None:
    """Then the step differs by that patient's rows alone, there or not."""

    class OneStep(FitPlan):
        @property
        def private_steps(self) -> int:
            return 1

    plan = OneStep(**dataclasses.asdict(PLAN) | {"batch_size": 20, "expected_examples": 40})
    present = set()
    for seed in range(12):
        seen = []
        for count in (40, 39):
            model = nn.Linear(2, 7)
            rows: list[float] = []
            model.register_forward_pre_hook(
                lambda _, given, rows=rows: rows.extend(given[0][:, 0].tolist())
            )
            fit(
                model,
                torch.arange(count).float().repeat(2, 1).T,
                torch.arange(count) % 7,
                plan,
                privacy=NO_NOISE,
                patients=patient_rows(np.arange(count), records=2),
                batches=generator(seed),
                noise=NoNoise(generator(seed)),
            )
            seen.append(rows)
        others = [row for row in seen[0] if row != 39]
        assert others == seen[1]
        assert len(seen[0]) - len(others) in (0, 2)
        present.add(39 in seen[0])
    assert present == {False, True}


def some_head(name: str, seed: int = 0) -> LinearHead:
    """In the middle of a training."""
    head = build(name, seed=0)
    assert isinstance(head, LinearHead)
    head.mean = torch.rand(head.kind.count, generator=generator(seed))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(seed)))
    return head


def stepped(
    head: LinearHead, rows: Tensor, labels: Tensor, patients: PatientRows, clip: float = CLIP
) -> list[Tensor]:
    """The sum of one step of a head, by a public size of one."""
    privacy = StepPrivacy(noise_multiplier=TINY_NOISE, clipping_norm=clip)
    drawn = patients.once_each(generator(1))
    noise = SeededNoise(generator())
    return list(
        noisy_gradient(head, rows, labels, declared=1, privacy=privacy, noise=noise, patients=drawn)
    )


def averaged(head: LinearHead, rows: Tensor, patients: PatientRows) -> list[Tensor]:
    """The sum of the features in the statistics round, by a public size of one."""
    drawn = patients.once_each(generator(1))
    noise = {"noise_multiplier": TINY_NOISE, "noise": SeededNoise(generator())}
    return [noisy_mean(rows, bound=head.kind.bound, declared=1, patients=drawn, **noise)]


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("name", HEADS)
@given(recipe=a_worse_one, k=st.integers(1, 8), times=st.sampled_from([1, 100]))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_in_a_step_and_in_the_mean_of_a_linear_head(
    name: str, recipe: Recipe, k: int, times: int
) -> None:
    head = some_head(name)
    rows, labels = made(recipe, (head.kind.count,))
    rows, labels = rows.repeat(times, 1), labels.repeat(times)
    patient = one_patient(len(rows), k)
    assert length(stepped(head, rows, labels, patient)) <= CLIP
    assert length(averaged(head, rows, patient)) <= head.kind.bound


@pytest.mark.usefixtures("vgg16_weights")
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("kind", [*RECORDS, *NOT_FINITE])
def test_without_one_patient_a_heads_sums_move_by_their_bounds_at_most(
    name: str, kind: str
) -> None:
    head = some_head(name)
    rows, labels = made(
        [("usual", seed, seed % 7) for seed in range(3)]
        + [(kind, seed, seed) for seed in range(5)],
        (head.kind.count,),
    )
    rows[:3] *= head.kind.bound / rows[:3].norm(dim=1, keepdim=True)
    everybody = patient_rows(np.array([0, 1, 1, 2, 2, 2, 2, 2]), records=2)
    others = patient_rows(np.array([0, 1, 1]), records=2)
    moved = [
        after - before
        for after, before in zip(
            stepped(head, rows, labels, everybody),
            stepped(head, rows[:3], labels[:3], others),
            strict=True,
        )
    ]
    assert length(moved) <= CLIP * (1 + 1e-5)
    (with_all,), (without,) = averaged(head, rows, everybody), averaged(head, rows[:3], others)
    assert length([with_all - without]) <= head.kind.bound * (1 + 1e-5)
    if kind in NOT_FINITE:
        assert length([*moved, with_all - without]) < 1e-6


def test_records_that_cancel_add_nothing_and_records_that_agree_add_one() -> None:
    """Not the clipping of single images in disguise: a mean is clipped."""
    head = LinearHead(SCATTERING)  # all zero: every emotion is as likely
    row = torch.randn(1, FEATURES, generator=generator())
    label = torch.tensor([2, 2])
    alone = stepped(head, row, label[:1], one_patient(1, 2), clip=10.0)
    same = stepped(head, row.repeat(2, 1), label, one_patient(2, 2), clip=10.0)
    for one, other in zip(alone, same, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    weight, bias = stepped(head, torch.cat([row, -row]), label, one_patient(2, 2), clip=10.0)
    assert float(weight.norm()) < 1e-5  # the noise alone, on every feature
    torch.testing.assert_close(bias, alone[1], atol=1e-6, rtol=1e-5)


def by_hand(clip: float, constant: float) -> np.ndarray:
    """Two patients at a model of two features that is all zero: one record, and the mean of three.

    The gradient of a record is the outer product of (1/7, ..., 1/7) less one at its label, and of
    its features beside the constant input.
    """
    records = [([0.6, 0.8], 3)], [([1.0, 0.0], 0), ([0.0, 1.0], 5), ([-0.6, 0.8], 5)]
    total = np.zeros((7, 3))
    for patient in records:
        mean = np.zeros((7, 3))
        for features, label in patient:
            error = np.full(7, 1 / 7)
            error[label] -= 1
            mean += np.outer(error, [*features, constant]) / len(patient)
        total += mean * min(1, clip / np.linalg.norm(mean))
    return total


ROWS = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]])
LABELS = torch.tensor([0, 3, 5, 5])
PATIENTS = np.array([7, 2, 7, 7])


@pytest.mark.parametrize("clip", [0.7, 10.0])
def test_two_patients_with_one_and_three_records_in_a_network(clip: float) -> None:
    model = nn.Linear(2, 7).double()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    fit(
        model,
        ROWS.double(),
        LABELS,
        PLAN,
        privacy=StepPrivacy(noise_multiplier=0.0, clipping_norm=clip),
        patients=patient_rows(PATIENTS, records=3),
        batches=generator(),
        noise=NoNoise(generator()),
    )
    moved = -torch.cat([model.weight, model.bias[:, None]], 1).detach().numpy()
    wanted = by_hand(clip, 1.0) * PLAN.learning_rate / PLAN.expected_examples
    np.testing.assert_allclose(moved, wanted, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("clip", [0.7, 10.0])
@pytest.mark.parametrize("k", [3, 8])
def test_two_patients_with_one_and_three_records_at_a_linear_head(clip: float, k: int) -> None:
    """However many records may enter a step: an exact mean over all that there are."""
    head = LinearHead(dataclasses.replace(SCATTERING, count=2))
    weight, bias = stepped(head, ROWS, LABELS, patient_rows(PATIENTS, records=k), clip)
    got = torch.cat([weight, bias[:, None]], 1).numpy()
    np.testing.assert_allclose(got, by_hand(clip, BIAS_SCALE), rtol=3e-5, atol=1e-7)


def test_two_patients_with_one_and_three_records_in_the_mean() -> None:
    """One of length 1, and the mean of three, which is (2/15, 3/5): both cut to 0.5, over 4."""
    drawn = patient_rows(PATIENTS, records=4).once_each(generator())
    noise = {"noise_multiplier": TINY_NOISE, "noise": SeededNoise(generator())}
    mean = noisy_mean(ROWS, bound=0.5, declared=4, patients=drawn, **noise)
    of_three = np.array([0.4 / 3, 0.6])
    wanted = (0.5 * np.array([0.6, 0.8]) + 0.5 * of_three / np.linalg.norm(of_three)) / 4
    np.testing.assert_allclose(mean, wanted, rtol=3e-5)
