"""What tests of private training share: clipped sums the long way, one unit after the other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fedward.common.private_layers import keep_book

STABILITY = 1e-6


def row_losses(outputs: Tensor) -> Tensor:
    """A loss of every row, of outputs of any shape."""
    return torch.sin(1.3 * outputs.flatten(1)).sum(1)


def gradients_of_units(model: nn.Module, x: Tensor, unit_size: int = 1) -> list[list[Tensor]]:
    """Gradients of the mean loss of every unit's rows, unit after unit."""
    assert not any("forward" in vars(layer) for layer in model.modules()), "a book is kept"
    parameters = [p for p in model.parameters() if p.requires_grad]
    units = []
    for part in x.split(unit_size):
        # of the rows too: torch's GroupNorm in channels_last crashes where they need no gradient
        rows = part.detach().requires_grad_(part.is_floating_point())
        wanted = [*parameters, rows] if rows.requires_grad else parameters
        found = torch.autograd.grad(row_losses(model(rows)).mean(), wanted, allow_unused=True)
        found = found[: len(parameters)]
        pairs = zip(parameters, found, strict=True)
        units.append([torch.zeros_like(p) if g is None else g for p, g in pairs])
    return units


def length(tensors: list[Tensor]) -> float:
    return float(torch.stack([t.double().square().sum() for t in tensors]).sum().sqrt())


def clipped_by_hand(
    model: nn.Module, x: Tensor, clipping_norm: float | None = None, *, unit_size: int = 1
) -> tuple[list[Tensor], float]:
    """Clipped sums, and the clipping norm: the median of all norms unless given."""
    units = gradients_of_units(model, x, unit_size)
    norms = [length(unit) for unit in units]
    norm = sorted(norms)[len(norms) // 2] if clipping_norm is None else clipping_norm
    factors = [min(1.0, norm / (each + STABILITY)) for each in norms]
    total = [torch.zeros_like(p) for p in model.parameters() if p.requires_grad]
    for factor, unit in zip(factors, units, strict=True):
        for so_far, gradient in zip(total, unit, strict=True):
            so_far += factor * gradient
    return total, norm


def clipped_by_book(
    model: nn.Module,
    x: Tensor,
    clipping_norm: float,
    *,
    unit_size: int = 1,
    loss_reduction: str = "sum",
) -> list[Tensor]:
    """The same from one backward pass of all rows."""
    with keep_book(model, unit_size=unit_size, loss_reduction=loss_reduction) as book:  # type: ignore[arg-type]
        losses = row_losses(model(x))
        (losses.mean() if loss_reduction == "mean" else losses.sum()).backward()
        return book.clipped_sums(clipping_norm)


def check_sums(
    model: nn.Module,
    x: Tensor,
    *,
    unit_size: int = 1,
    loss_reduction: str = "mean",
    within: float = 1e-10,
) -> None:
    """The book agrees with the long way in every parameter's sum, and in the inputs' gradient."""
    wanted, norm = clipped_by_hand(model, x, unit_size=unit_size)
    seen = [x.detach().clone(memory_format=torch.preserve_format) for _ in range(2)]
    if x.is_floating_point():
        row_losses(model(seen[0].requires_grad_())).sum().backward()
        model.zero_grad()
    options = {"unit_size": unit_size, "loss_reduction": loss_reduction}
    got = clipped_by_book(model, seen[1].requires_grad_(x.is_floating_point()), norm, **options)  # type: ignore[arg-type]
    assert length(wanted) > 0
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape
        off = length([one - other])
        assert off <= within * (length([other]) + 0.01 * length(wanted))
    assert all(p.grad is None for p in model.parameters())
    if x.is_floating_point():
        through, plain = seen[1].grad, seen[0].grad
        assert through is not None
        assert plain is not None
        share = len(x) if loss_reduction == "mean" else 1
        assert length([through * share - plain]) <= within * length([plain])


@pytest.fixture(scope="session")
def sums_agree() -> Callable[..., None]:
    return check_sums


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., tuple[list[Tensor], float]]:
    return clipped_by_hand


@pytest.fixture(scope="session")
def by_book() -> Callable[..., list[Tensor]]:
    return clipped_by_book


@pytest.fixture(scope="session")
def losses_of() -> Callable[[Tensor], Tensor]:
    return row_losses


@pytest.fixture(scope="session")
def length_of() -> Callable[[list[Tensor]], float]:
    return length
