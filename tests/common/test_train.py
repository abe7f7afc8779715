"""Steps by hand, in float64: in float32 a ReLU may fall on either side of zero."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedward.common.arrays import to_arrays
from fedward.common.errors import ModelError
from fedward.common.models import MODELS, build, is_linear, reads_features
from fedward.common.noise_source import SecureNoise, SeededNoise
from fedward.common.opacus_mode import BookKeepingHooks, BookKeepingOptimizer
from fedward.common.patients import patient_rows
from fedward.common.scattering import FEATURES
from fedward.common.train import FitPlan, StepPrivacy, fit, in_parts

PLAN = FitPlan(
    epochs=1, batch_size=0, optimizer="sgd", learning_rate=0.5, expected_examples=6, momentum=0.0
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class NoNoise(SeededNoise):
    """Coins alone: what it is given comes back as it is."""

    def added_to(self, total: Tensor, deviation: float) -> Tensor:
        return total.clone()


def none() -> NoNoise:
    return NoNoise(generator())


def seeded(seed: int = 0) -> SeededNoise:
    return SeededNoise(generator(seed))


def line() -> nn.Linear:
    """A linear model of two features, all zero."""
    model = nn.Linear(2, 7).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def some(
    count: int, seed: int = 1, *, of: str = "compact-cnn"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs of a model of the registry, with labels."""
    shape = (FEATURES,) if reads_features(of) else (1, 48, 48)
    images = torch.randn(count, *shape, generator=generator(seed), dtype=torch.float64)
    return images, torch.arange(count) % 7


def clipped_mean(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    norm: float,
    divisor: float,
    units: list[list[int]] | None = None,
) -> dict[str, torch.Tensor]:
    """The reference: one unit after the other, of all its rows; an image where none are given."""
    total = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for rows in units or [[row] for row in range(len(inputs))]:
        model.zero_grad()
        F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        length = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
        for name, gradient in gradients.items():
            total[name] += gradient * min(1.0, norm / (float(length) + 1e-6)) / divisor
    model.zero_grad(set_to_none=True)
    return total


def test_one_step_of_a_linear_model_by_hand():
    model = line()
    inputs = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    steps = fit(model, inputs, torch.tensor([3]), PLAN, privacy=None, batches=generator())
    assert steps == 1
    wanted = np.full(7, -0.5 / 7)  # -rate x softmax of equal logits
    wanted[3] += 0.5
    np.testing.assert_allclose(model.bias.detach(), wanted)
    np.testing.assert_allclose(model.weight.detach(), np.outer(wanted, [1, 2]))


def test_weight_decay_is_decoupled_and_spares_the_bias():
    model = line()
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    inputs = torch.zeros(1, 2, dtype=torch.float64)  # so that weights have no gradient
    plan = dataclasses.replace(PLAN, weight_decay=0.1)
    fit(model, inputs, torch.tensor([0]), plan, privacy=None, batches=generator())
    np.testing.assert_allclose(model.weight.detach(), np.full((7, 2), 1 - 0.5 * 0.1))
    assert model.bias[1].item() == pytest.approx(1 - 0.5 / 7)


def test_every_image_is_seen_once_an_epoch_and_a_last_partial_batch_is_kept():
    seen: list[torch.Tensor] = []
    model = line()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 0]))
    inputs = torch.arange(7, dtype=torch.float64).repeat(2, 1).T
    plan = dataclasses.replace(PLAN, epochs=2, batch_size=3)
    steps = fit(model, inputs, torch.arange(7), plan, privacy=None, batches=generator())
    assert steps == 6
    assert [len(part) for part in seen] == [3, 3, 1, 3, 3, 1]
    epochs = torch.cat(seen).reshape(2, 7)
    assert epochs.sort(1).values.tolist() == [list(range(7))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [2, 2]), (7, [3, 3, 1]), (8, [3, 3, 2])]
)
def test_parts_of_a_step_are_equal_as_far_as_can_be(rows, sizes, monkeypatch):
    monkeypatch.setattr("fedward.common.train.MOST_ROWS", 3)
    parts = in_parts(torch.arange(rows))
    assert [len(part) for part in parts] == sizes
    assert torch.cat(parts).tolist() == list(range(rows))


@pytest.mark.parametrize(
    ("units", "sizes"), [(0, [0]), (1, [3]), (2, [6]), (3, [6, 3]), (4, [6, 6]), (5, [6, 6, 3])]
)
def test_a_part_of_a_step_holds_units_whole(units, sizes, monkeypatch):
    monkeypatch.setattr("fedward.common.train.MOST_ROWS", 8)
    parts = in_parts(torch.arange(3 * units), unit_size=3)
    assert [len(part) for part in parts] == sizes
    assert torch.cat(parts).tolist() == list(range(3 * units))
    monkeypatch.setattr("fedward.common.train.MOST_ROWS", 2)  # fewer than a unit has
    assert {len(part) for part in in_parts(torch.arange(9), unit_size=3)} == {3}


@pytest.mark.parametrize("name", ["compact-cnn", "lstm", "cnn-lstm", "thesis-lstm", "scatter-cnn"])
@pytest.mark.parametrize("most", [4, 96])
def test_a_private_step_per_patient_is_the_clipped_sum_of_their_means(name, most, monkeypatch):
    """Four patients with one record, or k = 2, which any draw takes: two parts, or one."""
    monkeypatch.setattr("fedward.common.train.MOST_ROWS", most)
    inputs, labels = some(6, of=name)
    whose = patient_rows(np.array([3, 1, 2, 3, 2, 9]), records=2)
    twin, plain = build(name, seed=0).double(), build(name, seed=0).double()
    for model in (twin, plain):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    before = {key: p.detach().clone() for key, p in plain.named_parameters()}
    units = [[1], [2, 4], [0, 3], [5]]
    wanted = clipped_mean(plain, inputs, labels, norm=2.0, divisor=6, units=units)
    privacy = StepPrivacy(noise_multiplier=0.0, clipping_norm=2.0)
    randomness = {"batches": generator(), "noise": none()}
    assert fit(twin, inputs, labels, PLAN, privacy=privacy, patients=whose, **randomness) == 1
    after = dict(twin.named_parameters())
    for key, start in before.items():
        moved = (start - after[key].detach()) / PLAN.learning_rate
        torch.testing.assert_close(moved, wanted[key], rtol=1e-9, atol=1e-12)


def test_poisson_sampling_takes_each_patient_at_the_public_rate():
    """Five hundred declared, four hundred there, of whom one has half of all images."""
    k, steps = 3, []
    model = line()
    model.register_forward_pre_hook(lambda _, given: steps.append(given[0][:, 0].tolist()))
    numbers = np.concatenate([np.arange(400), np.zeros(399, np.int64)])
    plan = dataclasses.replace(PLAN, epochs=8, batch_size=10, expected_examples=500)
    fit(
        model,
        torch.from_numpy(numbers).double().repeat(2, 1).T,
        torch.from_numpy(numbers % 7),
        plan,
        privacy=StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0),
        patients=patient_rows(numbers, records=k),
        batches=generator(1),
        noise=seeded(2),
    )
    drawn = [seen[::k] for seen in steps]
    assert steps == [[who for who in some for _ in range(k)] for some in drawn]
    assert all(len(set(some)) == len(some) for some in drawn)
    assert len(drawn) == 400
    assert abs(np.mean([len(some) for some in drawn]) - 400 * 0.02) < 4 * np.sqrt(7.84 / 400)
    assert 1 <= sum(0.0 in some for some in drawn) <= 20  # 8 of 400 expected, as for anybody


def test_patients_are_of_these_rows_and_under_privacy_alone():
    inputs, labels = torch.zeros(3, 2, dtype=torch.float64), torch.arange(3)
    whose = patient_rows(np.arange(2), records=2)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    randomness = {"batches": generator(), "noise": seeded()}
    with pytest.raises(ModelError, match="2 rows have a patient, of 3"):
        fit(line(), inputs, labels, PLAN, privacy=privacy, patients=whose, **randomness)
    with pytest.raises(ValueError, match="under privacy alone"):
        fit(line(), inputs, labels, PLAN, privacy=None, patients=whose, **randomness)


@pytest.mark.parametrize("name", ["compact-cnn", "lstm", "cnn-lstm", "thesis-lstm"])
def test_a_private_step_without_noise_is_the_clipped_sum_over_a_public_size(name, monkeypatch):
    monkeypatch.setattr("fedward.common.train.MOST_ROWS", 2)  # three parts
    inputs, labels = some(5)
    twin = build(name, seed=0).double()
    plain = build(name, seed=0).double()
    for model in (twin, plain):  # dropout would differ: parts draw it one after the other
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    before = {key: p.detach().clone() for key, p in plain.named_parameters()}
    wanted = clipped_mean(plain, inputs, labels, norm=2.0, divisor=6)
    privacy = StepPrivacy(noise_multiplier=0.0, clipping_norm=2.0)
    steps = fit(
        twin, inputs, labels, PLAN, privacy=privacy, batches=generator(), noise=NoNoise(generator())
    )
    assert steps == 1
    after = dict(twin.named_parameters())
    for key, start in before.items():
        moved = (start - after[key].detach()) / PLAN.learning_rate
        torch.testing.assert_close(moved, wanted[key], rtol=1e-9, atol=1e-12)


class OneStep(FitPlan):
    @property
    def private_steps(self) -> int:
        return 1


def test_a_step_that_draws_nobody_is_noise_alone():
    plan = OneStep(**dataclasses.asdict(PLAN) | {"batch_size": 1, "expected_examples": 10**9})
    model = line()
    inputs, labels = torch.ones(3, 2, dtype=torch.float64), torch.arange(3)
    privacy = StepPrivacy(noise_multiplier=2.0, clipping_norm=0.25)
    noise = SeededNoise(generator(9), coins=generator())
    steps = fit(model, inputs, labels, plan, privacy=privacy, batches=generator(), noise=noise)
    assert steps == 1
    same = generator(9)
    for parameter in model.parameters():
        drawn = torch.normal(0.0, 0.5, parameter.shape, generator=same, dtype=torch.float64)
        torch.testing.assert_close(parameter.detach(), -0.5 * drawn)


def test_seeded_training_is_bit_for_bit_what_it_was_with_opacus_own_noise():
    inputs, labels = some(40)
    plan = dataclasses.replace(PLAN, epochs=2, batch_size=8, expected_examples=40)
    privacy = StepPrivacy(noise_multiplier=1.3, clipping_norm=0.7)
    twins = [build("compact-cnn", seed=0).train() for _ in "ab"]
    batches = generator(3)
    source = SeededNoise(generator(4), coins=batches)
    kept = {"privacy": privacy, "batches": batches, "noise": source}
    assert fit(twins[0], inputs.float(), labels, plan, **kept) == 10
    g, by_hand = generator(3), twins[1]
    torch.manual_seed(int(torch.randint(2**62, (1,), generator=g)))  # dropout's
    hooks = BookKeepingHooks(by_hand)
    optimizer = BookKeepingOptimizer(
        torch.optim.SGD(by_hand.parameters(), lr=plan.learning_rate),
        noise_multiplier=1.3,
        max_grad_norm=0.7,
        expected_batch_size=8,
        generator=generator(4),
    )
    for _ in range(10):
        rows = (torch.rand(40, generator=g, dtype=torch.float64) < 0.2).nonzero().squeeze(1)
        optimizer.zero_grad()
        if len(rows):
            F.cross_entropy(by_hand(inputs[rows].float()), labels[rows]).backward()
        optimizer.step()
    hooks.cleanup()
    one, other = (to_arrays(model) for model in twins)
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_secure_coins_do_not_follow_the_generator_of_the_batches():
    seen: list[list[float]] = []
    model = line()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 0].tolist()))
    plan = OneStep(**dataclasses.asdict(PLAN) | {"batch_size": 50, "expected_examples": 100})
    inputs = torch.arange(100.0, dtype=torch.float64).repeat(2, 1).T
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    for noise in (SecureNoise(), SecureNoise()):
        codes = torch.arange(100) % 7
        fit(model, inputs, codes, plan, privacy=privacy, batches=generator(), noise=noise)
    assert all(20 < len(rows) < 80 for rows in seen)
    assert seen[0] != seen[1]


def test_poisson_sampling_takes_each_image_at_the_public_rate():
    sizes: list[int] = []
    model = line()
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    plan = dataclasses.replace(PLAN, epochs=20, batch_size=25, expected_examples=500)
    assert (plan.sample_rate, plan.private_steps) == (0.05, 400)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    steps = fit(
        model,
        torch.randn(400, 2, generator=generator(), dtype=torch.float64),
        torch.arange(400) % 7,  # fewer than declared: nothing but the draws may show it
        plan,
        privacy=privacy,
        batches=generator(1),
        noise=seeded(2),
    )
    assert steps == 400
    mean, spread = np.mean(sizes), np.std(sizes)
    assert abs(mean - 400 * 0.05) < 4 * np.sqrt(19 / 400)
    assert 3.6 < spread < 5.2  # binomial: 4.36


def test_one_image_s_overflow_stays_its_own_affair():
    model = nn.Sequential(nn.Linear(2, 7), nn.Linear(7, 7)).double()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1e200)
    inputs = torch.tensor([[0.0, 0.0], [1e300, 1.0]], dtype=torch.float64)
    privacy = StepPrivacy(noise_multiplier=0.0, clipping_norm=1.0)
    labels = torch.tensor([0, 1])
    fit(
        model,
        inputs,
        labels,
        PLAN,
        privacy=privacy,
        batches=generator(),
        noise=NoNoise(generator()),
    )
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


@pytest.mark.parametrize("private", [False, True])
def test_the_same_generators_give_the_same_model_and_others_another(private):
    inputs, labels = some(9)
    plan = dataclasses.replace(PLAN, batch_size=4, augment=True, expected_examples=9)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0) if private else None
    state = torch.random.get_rng_state()
    results = []
    for seed in (1, 1, 2):
        model = build("compact-cnn", seed=0)
        fit(
            model,
            inputs.float(),
            labels,
            plan,
            privacy=privacy,
            batches=generator(seed),
            noise=seeded(7),
        )
        results.append(to_arrays(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    first, again, other = results
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)


def test_training_leaves_no_hooks_behind():
    inputs, labels = some(3)
    model = build("compact-cnn", seed=0).double()
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    for _ in range(2):
        fit(
            model,
            inputs,
            labels,
            PLAN,
            privacy=privacy,
            batches=generator(),
            noise=seeded(),
        )
    fit(model, inputs, labels, PLAN, privacy=None, batches=generator())
    assert not any(hasattr(p, "grad_sample") for p in model.parameters())


@pytest.mark.parametrize("name", ["compact-cnn", "lstm"])
def test_a_small_set_is_learned(name):
    rng = np.random.default_rng(0)
    labels = torch.arange(14) % 7
    inputs = torch.tensor(rng.normal(size=(7, 1, 48, 48)), dtype=torch.float32)[labels]
    plan = FitPlan(15, 7, "adamw", 2e-3, expected_examples=14)
    model = build(name, seed=0)
    fit(model, inputs, labels, plan, privacy=None, batches=generator())
    assert bool((model.eval()(inputs).argmax(1) == labels).all())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_no_numbers_are_refused_before_training(value):
    inputs, labels = some(3)
    inputs[1, 0, 5, 5] = value
    model = line()
    with pytest.raises(ModelError, match="input 1 holds NaN"):
        fit(model, inputs, labels, PLAN, privacy=None, batches=generator())


@pytest.mark.parametrize("name", [n for n in MODELS if not is_linear(n)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_never_reaches_a_private_model(name, value):
    inputs, labels = some(3, of=name)
    inputs[2].flatten()[40 * 48 + 7] = value
    model = build(name, seed=0)
    before = to_arrays(model)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    with pytest.raises(ModelError, match="input 2 holds NaN"):
        fit(
            model,
            inputs.float(),
            labels,
            PLAN,
            privacy=privacy,
            batches=generator(),
            noise=seeded(),
        )
    after = to_arrays(model)
    assert all(np.array_equal(after[key], before[key]) for key in before)


CLIP = 0.1


def given_to_the_optimiser(name: str, inputs: torch.Tensor, labels: torch.Tensor) -> list[Tensor]:
    """Clipped sums of one private step without noise, of what ``fit`` leaves in ``grad``."""
    model = build(name, seed=0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # other rows would draw other masks
    privacy = StepPrivacy(noise_multiplier=0.0, clipping_norm=CLIP)
    fit(
        model,
        inputs,
        labels,
        PLAN,
        privacy=privacy,
        batches=generator(),
        noise=NoNoise(generator()),
    )
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
    gradients = [p.grad for p in model.parameters()]
    return [PLAN.expected_examples * g.double() for g in gradients if g is not None]


HOSTILE = {
    "huge": lambda face: 1e30 * face,
    "as large as numbers get": lambda face: 3e38 * face.sign(),
    "one huge pixel": lambda face: face.index_fill(1, torch.tensor([7]), -3e38),
    "all equal": lambda face: torch.full_like(face, 3.0),
    "all equal and huge": lambda face: torch.full_like(face, 3e38),
    "all zero": torch.zeros_like,
}


@pytest.mark.parametrize("name", [n for n in MODELS if not is_linear(n)])
def test_a_hostile_image_moves_a_step_by_the_clipping_norm_at_most(name):
    """Whether it overflows within the network, where it adds nothing, or not."""
    inputs, labels = some(4, of=name)
    inputs = inputs.float()
    without = given_to_the_optimiser(name, inputs[:3], labels[:3])
    for kind, made in HOSTILE.items():
        seen = inputs.clone()
        seen[3] = made(inputs[3].view(1, -1)).view_as(inputs[3])
        got = given_to_the_optimiser(name, seen, labels)
        off = [one - other for one, other in zip(got, without, strict=True)]
        moved = float(torch.stack([each.square().sum() for each in off]).sum().sqrt())
        assert moved <= CLIP * (1 + 1e-5), kind
        if "huge" in kind or "large" in kind:
            assert moved <= CLIP * 1e-5, kind
        else:
            # equal features are nothing to centred 1x1 kernels
            assert moved > (CLIP / 4 if reads_features(name) else CLIP / 2), kind


def test_impossible_requests_are_refused_in_words():
    features, labels = torch.zeros(3, 2), torch.arange(3)
    for inputs, codes, plan, words in [
        (features[:0], labels[:0], PLAN, "0 inputs"),
        (features, labels[:2], PLAN, "2 labels"),
        (features, labels + 5, PLAN, "codes from 0 to 6"),
        (features, labels, dataclasses.replace(PLAN, augment=True), "cannot be augmented"),
        (features, labels, dataclasses.replace(PLAN, resolution=36), "cannot be augmented"),
    ]:
        with pytest.raises(ModelError, match=words):
            fit(line(), inputs, codes, plan, privacy=None, batches=generator())


def test_private_training_never_takes_its_noise_from_elsewhere():
    inputs, labels = torch.zeros(3, 2, dtype=torch.float64), torch.arange(3)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    with pytest.raises(ValueError, match="source of noise"):
        fit(line(), inputs, labels, PLAN, privacy=privacy, batches=generator())


class Scaled(nn.Module):
    """A layer that no rule is known for."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(7))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(7, 7), nn.Linear(7, 7)
        self.other.weight = self.one.weight

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self.other(self.one(inputs))
        return answer


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm1d(7), r"layer 1 \(BatchNorm1d\) mixes examples: use GroupNorm, or fold it"),
        (Tied(), r"layers 1\.one and 1\.other share a parameter .*: give each its own"),
        (Scaled(), r"layer 1 \(Scaled\) has no rule .*: build it from .* or freeze it"),
    ],
)
def test_layers_without_private_gradients_are_refused_by_name(layer: nn.Module, words: str) -> None:
    model = nn.Sequential(nn.Linear(2, 7), layer)
    before = [p.detach().clone() for p in model.parameters()]
    inputs, labels = torch.ones(3, 2), torch.arange(3)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    with pytest.raises(ModelError, match=words):
        fit(
            model,
            inputs,
            labels,
            PLAN,
            privacy=privacy,
            batches=generator(),
            noise=seeded(),
        )
    assert all(torch.equal(p, start) for p, start in zip(model.parameters(), before, strict=True))
    assert fit(model, inputs, labels, PLAN, privacy=None, batches=generator()) == 1


def test_calibration_shifts_logits_by_the_hospitals_own_label_frequencies() -> None:
    """With labels of one class alone, nothing is left to learn once the shift explains them."""

    class Bias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(7))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.bias.expand(len(inputs), 7)

    inputs, labels = torch.zeros(70, 1, 48, 48), torch.zeros(70, dtype=torch.int64)
    moved = {}
    for calibrate in (False, True):
        model = Bias()
        plan = FitPlan(1, 0, "sgd", 1.0, 70, calibrate=calibrate)
        fit(model, inputs, labels, plan, privacy=None, batches=torch.Generator().manual_seed(1))
        moved[calibrate] = float(model.bias.detach().abs().max())
    assert moved[False] == pytest.approx(6 / 7)
    assert moved[True] < 0.03


def test_calibration_is_refused_under_privacy() -> None:
    plan = FitPlan(1, 2, "sgd", 1.0, 4, calibrate=True)
    privacy = StepPrivacy(noise_multiplier=1.0, clipping_norm=1.0)
    with pytest.raises(ModelError, match="frequencies are private"):
        fit(
            build("lstm", seed=0),
            torch.zeros(4, 1, 48, 48),
            torch.zeros(4, dtype=torch.int64),
            plan,
            privacy=privacy,
            batches=torch.Generator().manual_seed(1),
            noise=seeded(2),
        )
