"""grad_sample_mode="fedward" in Opacus: the same training as with its hooks, in one pass."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import opacus.privacy_engine
import pytest
import torch
import torch.nn.functional as F
from opacus import GradSampleModule, PrivacyEngine
from opacus.layers import DPGRU, DPLSTM
from opacus.optimizers import DPOptimizer
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fedward.common.errors import ModelError
from fedward.common.opacus_mode import (
    BOOK,
    BookKeepingHooks,
    BookKeepingModule,
    BookKeepingOptimizer,
    register,
)

# Opacus advises secure randomness, and uses a name that torch will drop
pytestmark = [
    pytest.mark.filterwarnings("ignore:Secure RNG turned off"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
    pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha"),
]
EXAMPLES, BATCH = 48, 8


@pytest.fixture(autouse=True)
def _registered() -> None:
    register()


def tutorial() -> nn.Module:
    """The network of Opacus's MNIST tutorial."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


class Reader(nn.Module):
    """A character model of Opacus's examples, on sequences of 9 out of 20 characters."""

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.layer = kind(6, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layer(self.embedding(x))[0][:, -1])
        return answer


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 10))


def examples(kind: str) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "images": lambda: torch.randn(EXAMPLES, 1, 28, 28, generator=generator).double(),
        "words": lambda: torch.randint(0, 20, (EXAMPLES, 9), generator=generator),
        "numbers": lambda: torch.randn(EXAMPLES, 5, generator=generator).double(),
    }[kind]()
    return TensorDataset(inputs, torch.arange(EXAMPLES) % 10)


class Trained:
    """A model, trained privately for some epochs; the same seeds in every mode."""

    def __init__(
        self,
        make: Callable[[], nn.Module],
        data: TensorDataset,
        mode: str,
        *,
        physical: int = BATCH,
        epochs: int = 2,
        epsilon: float | None = None,
        dtype: torch.dtype = torch.float64,
        reduction: str = "mean",
        noise: float = 1.0,
        **options: Any,
    ) -> None:
        torch.manual_seed(0)
        self.plain = make().to(dtype).train()
        plain = torch.optim.SGD(self.plain.parameters(), lr=0.2, momentum=0.9)
        self.engine = PrivacyEngine(accountant="rdp")
        common: dict[str, Any] = {
            "module": self.plain,
            "optimizer": plain,
            "data_loader": DataLoader(data, batch_size=BATCH),
            "max_grad_norm": 0.5,
            "grad_sample_mode": mode,
            "loss_reduction": reduction,
            **options,
        }
        if epsilon is None:
            made = self.engine.make_private(noise_multiplier=noise, **common)
        else:
            budget = {"target_epsilon": epsilon, "target_delta": 1e-4, "epochs": epochs}
            made = self.engine.make_private_with_epsilon(**budget, **common)
        self.model, self.optimizer, loader = made
        called = self.model if isinstance(self.model, nn.Module) else self.plain
        torch.manual_seed(1)
        for _ in range(epochs):
            with BatchMemoryManager(
                data_loader=loader, max_physical_batch_size=physical, optimizer=self.optimizer
            ) as parts:
                for x, y in parts:
                    self.optimizer.zero_grad()
                    x = x.to(dtype) if x.is_floating_point() else x
                    F.cross_entropy(called(x), y, reduction=reduction).backward()
                    self.optimizer.step()

    def parameters(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.plain.parameters()])

    def spent(self) -> float:
        return float(self.engine.get_epsilon(1e-4))


def check_same(make: Callable[[], nn.Module], kind: str, **options: Any) -> None:
    hooks, own = (Trained(make, examples(kind), mode, **options) for mode in ("hooks", "fedward"))
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in make().double().parameters()])
    assert float((start - own.parameters()).norm()) > 0.1
    torch.testing.assert_close(own.parameters(), hooks.parameters(), rtol=1e-8, atol=1e-10)
    assert own.spent() == hooks.spent()
    assert isinstance(own.optimizer, BookKeepingOptimizer)


@pytest.mark.parametrize("physical", [BATCH * 4, 3])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_dense_layers_as_with_hooks(reduction: str, physical: int) -> None:
    check_same(dense, "numbers", reduction=reduction, physical=physical)


@pytest.mark.parametrize("poisson", [True, False])
def test_the_tutorials_network_as_with_hooks(poisson: bool) -> None:
    check_same(tutorial, "images", poisson_sampling=poisson, physical=5)


@pytest.mark.parametrize("kind", [DPLSTM, DPGRU])
def test_opacus_recurrent_layers_as_with_hooks(kind: Any) -> None:
    check_same(lambda: Reader(kind), "words", physical=3)


def test_without_a_wrapper_as_with_hooks() -> None:
    check_same(dense, "numbers", wrap_model=False)


def test_with_a_target_epsilon_as_with_hooks() -> None:
    check_same(dense, "numbers", epsilon=5.0)


def test_in_float32_as_with_hooks() -> None:
    runs = [
        Trained(tutorial, examples("images"), m, dtype=torch.float32) for m in ("hooks", "fedward")
    ]
    hooks, own = (run.parameters() for run in runs)
    assert float((own - hooks).norm()) <= 1e-5 * float(hooks.norm())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_torchs_own_recurrent_layers_are_trained(kind: Any) -> None:
    """With the weights that Opacus's twin gets; they load into the plain layer. Without noise:
    the twin has its parameters in another order, so that it would get other noise."""
    twin = {nn.LSTM: DPLSTM, nn.GRU: DPGRU}[kind]

    def same(of: Any) -> Callable[[], nn.Module]:
        def make() -> nn.Module:
            model = Reader(of)
            for name, parameter in model.named_parameters():
                generator = torch.Generator().manual_seed(len(name))
                nn.init.normal_(parameter, std=0.3, generator=generator)
            return model

        return make

    own, other = (Trained(same(k), examples("words"), "fedward", noise=0.0) for k in (kind, twin))
    wanted = other.plain.state_dict()
    for key, value in own.plain.state_dict().items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-9, atol=1e-11)
    plain = Reader(kind).double()
    plain.load_state_dict(own.model.to_standard_module().state_dict())
    words = examples("words").tensors[0]
    torch.testing.assert_close(plain.eval()(words), own.plain.eval()(words))
    assert type(plain.layer) is kind


def prepared(model: nn.Module, *, engine: Any = None, **options: Any) -> Any:
    data = examples("numbers")
    common: dict[str, Any] = {
        "module": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "data_loader": DataLoader(data, batch_size=BATCH),
        "noise_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "grad_sample_mode": "fedward",
    }
    return (engine or PrivacyEngine()).make_private(**common | options)


def test_registering_twice_is_fine() -> None:
    def known() -> tuple[Any, ...]:
        engine = PrivacyEngine
        choose = opacus.privacy_engine.get_optimizer_class
        return choose, engine._prepare_model, engine.make_private

    before = known()
    register()
    assert known() == before


@pytest.mark.parametrize("mode", ["hooks", "functorch", "ew"])
def test_other_modes_still_work(mode: str) -> None:
    model, optimizer, _ = prepared(dense(), grad_sample_mode=mode)
    F.cross_entropy(model(torch.ones(4, 5)), torch.arange(4)).backward()
    optimizer.step()
    assert type(optimizer) is DPOptimizer
    assert isinstance(model, nn.Module)
    assert not isinstance(model, BookKeepingModule)


def test_ghost_clipping_still_works() -> None:
    model, optimizer, criterion, _ = prepared(dense(), grad_sample_mode="ghost")
    criterion(model(torch.ones(4, 5)), torch.arange(4)).backward()
    optimizer.step()
    assert not isinstance(optimizer, BookKeepingOptimizer)


def test_per_layer_clipping_still_works_with_hooks() -> None:
    norms = [1.0, 1.0, 1.0, 1.0]
    options = {"grad_sample_mode": "hooks", "clipping": "per_layer", "max_grad_norm": norms}
    _, optimizer, _ = prepared(dense(), **options)
    assert type(optimizer).__name__ == "DPPerLayerOptimizer"


@pytest.mark.parametrize("clipping", ["per_layer", "adaptive"])
def test_other_clipping_is_refused(clipping: str) -> None:
    with pytest.raises(ModelError, match="clips flat and runs in one process"):
        prepared(dense(), clipping=clipping)


def test_several_processes_are_refused() -> None:
    with pytest.raises(ModelError, match="clips flat and runs in one process"):
        opacus.privacy_engine.get_optimizer_class("flat", True, "fedward")


# What Opacus only looks at once the model is bound
LATE: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "adaptive clipping": ({"clipping": "adaptive"}, ModelError),
    "clipping per layer": ({"clipping": "per_layer", "max_grad_norm": [1.0] * 4}, ModelError),
    "a loader that is none": ({"data_loader": None}, AttributeError),
}


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("kind", LATE)
def test_a_refused_model_is_as_it_was(kind: str, wrap: bool) -> None:
    model = dense()
    attributes = [set(vars(layer)) for layer in model.modules()]
    named = [set(vars(p)) for p in model.parameters()]
    options, error = LATE[kind]
    common = {
        "engine": PrivacyEngine(),
        "data_loader": DataLoader(examples("numbers"), batch_size=BATCH),
        "wrap_model": wrap,
    }
    with pytest.raises(error):
        prepared(model, **common | options)
    assert [set(vars(layer)) for layer in model.modules()] == attributes
    assert [set(vars(p)) for p in model.parameters()] == named
    assert not model._forward_pre_hooks
    F.cross_entropy(model(torch.ones(4, 5)), torch.arange(4)).backward()
    assert all(p.grad is not None for p in model.parameters())
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    private, optimizer, _ = prepared(model, **common)
    one_step(private if wrap else model, optimizer, torch.ones(4, 5))
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert float((after - before).norm()) > 0


def test_a_private_model_stays_so_when_a_second_call_is_refused() -> None:
    model, optimizer, _ = prepared(dense())
    with pytest.raises(ModelError, match="clips flat"):
        prepared(model, clipping="adaptive")
    F.cross_entropy(model(torch.ones(4, 5)), torch.arange(4)).backward()
    assert optimizer.book.accumulated() == 1
    optimizer.step()


def test_refusals_of_a_target_epsilon_are_undone_too() -> None:
    model = dense()
    budget = {"target_epsilon": 5.0, "target_delta": 1e-4, "epochs": 1}
    with pytest.raises(ModelError, match="clips flat"):
        PrivacyEngine(accountant="rdp").make_private_with_epsilon(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            data_loader=DataLoader(examples("numbers"), batch_size=BATCH),
            max_grad_norm=1.0,
            grad_sample_mode="fedward",
            clipping="adaptive",
            **budget,
        )
    assert not any("forward" in vars(layer) for layer in model.modules())


def test_unknown_modes_are_opacuss_matter() -> None:
    with pytest.raises(ValueError, match="Unexpected grad_sample_mode"):
        prepared(dense(), grad_sample_mode="unheard of")


def test_a_batch_that_is_not_first_is_refused() -> None:
    with pytest.raises(ModelError, match="needs the batch first"):
        prepared(dense(), batch_first=False)


class Scaled(nn.Module):
    """A layer that no rule is known for."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "BatchNorm": (
        lambda: nn.BatchNorm1d(4),
        r"layer 1 \(BatchNorm1d\) mixes examples: use GroupNorm, or fold it",
    ),
    "tied weights": (tied, r"layers 1\.0 and 1\.2 share a parameter .*: give each its own"),
    "unknown": (Scaled, r"layer 1 \(Scaled\) has no rule .*: build it from .* or freeze it"),
}


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("kind", REFUSED)
def test_layers_without_private_gradients_are_refused_by_name(kind: str, wrap: bool) -> None:
    make, message = REFUSED[kind]
    model = nn.Sequential(nn.Linear(5, 4), make(), nn.Linear(4, 10))
    with pytest.raises(ModelError, match=message):
        prepared(model, wrap_model=wrap)
    assert "forward" not in vars(model[0])


def test_a_private_model_is_not_wrapped_again() -> None:
    model, optimizer, _ = prepared(dense())
    again, _, _ = prepared(model)
    assert again is model
    with pytest.raises(ModelError, match="private already, in another way"):
        prepared(model, loss_reduction="sum")
    with pytest.raises(ModelError, match="private already, in another way"):
        prepared(GradSampleModule(dense()))
    assert isinstance(optimizer, BookKeepingOptimizer)


def one_step(model: nn.Module, optimizer: Any, x: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), torch.arange(len(x))).backward()
    optimizer.step()


def test_accumulation_is_forbidden_under_poisson_sampling() -> None:
    model, optimizer, _ = prepared(dense())
    x = torch.ones(4, 5)
    F.cross_entropy(model(x), torch.arange(4)).backward()
    with pytest.raises(ModelError, match="a second backward pass came before"):
        F.cross_entropy(model(x), torch.arange(4)).backward()
    one_step(model, optimizer, x)
    optimizer.zero_grad()
    model.allow_grad_accumulation()
    for _ in range(2):
        F.cross_entropy(model(x), torch.arange(4)).backward()
    optimizer.step()
    assert optimizer.accumulated_iterations == 2


def silent() -> Any:
    """A model that is trained without noise and sampling."""
    torch.manual_seed(0)
    return prepared(dense(), noise_multiplier=0.0, poisson_sampling=False)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad_may_come_before_the_backward_pass(set_to_none: bool) -> None:
    """logits, loss, zero_grad, backward, step: the other common order."""
    answers = []
    for late in (False, True):
        model, optimizer, _ = silent()
        for step in range(3):
            x = torch.full((4, 5), 0.1 * step)
            if not late:
                optimizer.zero_grad(set_to_none)
            loss = F.cross_entropy(model(x), torch.arange(4))
            if late:
                optimizer.zero_grad(set_to_none)
            loss.backward()
            optimizer.step()
        answers.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.manual_seed(0)
    start = torch.cat([p.detach().flatten() for p in dense().parameters()])
    assert float((answers[0] - start).norm()) > 0.01
    assert torch.equal(*answers)


def test_the_models_own_zero_grad_forgets_notes() -> None:
    model, optimizer, _ = silent()
    F.cross_entropy(model(5 * torch.ones(4, 5)), torch.arange(4)).backward()
    model.zero_grad()
    assert optimizer.book.accumulated() == 0


def test_last_steps_gradients_may_stay() -> None:
    """No zero_grad at all: what the last step left in p.grad is no stray gradient."""
    answers = []
    for zeroed in (True, False):
        model, optimizer, _ = silent()
        for step in range(3):
            if zeroed:
                optimizer.zero_grad()
            else:
                for p in model.parameters():
                    p.summed_grad = None
            F.cross_entropy(model(torch.full((4, 5), 0.1 * step)), torch.arange(4)).backward()
            optimizer.step()
        answers.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*answers)


def test_a_penalty_on_weights_is_noticed() -> None:
    model, optimizer, _ = silent()
    for _ in range(2):
        one_step(model, optimizer, torch.ones(4, 5))
    for zeroed in (True, False):
        if zeroed:
            optimizer.zero_grad()
        penalty = sum(p.square().sum() for p in model.parameters())
        (F.cross_entropy(model(torch.ones(4, 5)), torch.arange(4)) + penalty).backward()
        with pytest.raises(ModelError, match="got a gradient past its layer"):
            optimizer.step()
        optimizer.zero_grad()


def test_an_empty_batch_is_a_step_of_noise() -> None:
    model, optimizer, _ = silent()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.zero_grad()
    model(torch.zeros(0, 5)).sum().backward()
    optimizer.step()
    assert all(torch.equal(p, start) for p, start in zip(model.parameters(), before, strict=True))
    optimizer.zero_grad()
    optimizer.step()  # not even a backward pass
    assert all(torch.equal(p, start) for p, start in zip(model.parameters(), before, strict=True))


def test_an_optimizer_without_its_book_is_refused() -> None:
    model = dense()
    plain = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "expected_batch_size": 4}
    optimizer = BookKeepingOptimizer(plain, **options)
    with pytest.raises(ModelError, match="no book is kept on these parameters"):
        optimizer.step()
    hooks = BookKeepingHooks(model)
    assert optimizer.book is hooks.book
    plain.add_param_group({"params": list(nn.Linear(2, 2).parameters())})
    with pytest.raises(ModelError, match="no book is kept on these parameters"):
        optimizer.book  # noqa: B018


def test_hooks_of_patients_clip_their_mean_gradients() -> None:
    model, x = dense(), torch.ones(4, 5)
    hooks = BookKeepingHooks(model, unit_size=2)
    F.cross_entropy(model(x), torch.arange(4)).backward()
    assert [len(norms) for norms in hooks.book.norms()] == [2]
    hooks.cleanup()


@pytest.mark.parametrize("wrap", [True, False])
def test_cleaning_up_leaves_a_plain_model(wrap: bool) -> None:
    plain = dense()
    model, optimizer, _ = prepared(plain, wrap_model=wrap)
    one_step(model if wrap else plain, optimizer, torch.ones(4, 5))
    if wrap:
        assert model.to_standard_module() is plain
    else:
        assert isinstance(model, BookKeepingHooks)
        model.cleanup()
    for parameter in plain.parameters():
        assert not any(hasattr(parameter, name) for name in (BOOK, "grad_sample"))
    assert not any("forward" in vars(layer) for layer in plain.modules())
    plain.zero_grad()
    F.cross_entropy(plain(torch.ones(4, 5)), torch.arange(4)).backward()
    assert all(p.grad is not None for p in plain.parameters())


SCRIPT = """
import torch
from torch import nn
from opacus import PrivacyEngine
from fedward.common.opacus_mode import register

register()
model = nn.Sequential(
    nn.Conv2d(1, 16, 8, 2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1),
    nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.MaxPool2d(2, 1),
    nn.Flatten(), nn.Linear(32 * 4 * 4, 32), nn.ReLU(), nn.Linear(32, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
data = torch.utils.data.TensorDataset(torch.randn(64, 1, 28, 28), torch.arange(64) % 10)
loader = torch.utils.data.DataLoader(data, batch_size=16)
model, optimizer, loader = PrivacyEngine().make_private(
    module=model, optimizer=optimizer, data_loader=loader,
    noise_multiplier=1.0, max_grad_norm=1.0, grad_sample_mode="fedward",
)
for images, labels in loader:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
print("trained", all(bool(torch.isfinite(p).all()) for p in model.parameters()))
"""


def test_the_tutorial_runs_unchanged() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "trained True"), done.stderr
