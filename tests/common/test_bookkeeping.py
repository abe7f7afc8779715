"""The book: what passes add up to, what is forgotten, and what cannot be clipped."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward.common.bookkeeping import Book, Page
from fedward.common.errors import ModelError
from fedward.common.notes import Note, Weights
from fedward.common.private_layers import keep_book

ByHand = Callable[..., tuple[list[Tensor], float]]
Losses = Callable[[Tensor], Tensor]
Length = Callable[[list[Tensor]], float]


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def made(layer: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    layer.to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            parameter.copy_(0.5 * drawn(*parameter.shape, seed=seed + number, dtype=dtype))
    return layer


def network() -> Any:
    return made(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))


def close(got: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def linear_book(**options: Any) -> tuple[Book, nn.Parameter]:
    """A book about a weight (1, 2), without a model."""
    weight = nn.Parameter(torch.zeros(1, 2).double())
    return Book([weight], **{"unit_size": 1, "loss_reduction": "sum"} | options), weight


def write(book: Book, weight: nn.Parameter, gradients: Tensor, layer: str = "a") -> None:
    """As a layer with these gradients (units, 1, 2) would."""

    def sums(weights: Weights, held: Tensor) -> Any:
        return [(weight, torch.einsum("u,uod->od", weights.units, held))]

    current = book.use(layer, len(gradients) * book.unit_size)
    Page(layer, book).write(current, Note(gradients.square().sum((1, 2)), (gradients,), sums))


def test_clipping_by_hand() -> None:
    """Lengths 5, 1 and 0; only the first is cut."""
    book, weight = linear_book()
    book.open_pass(3)
    write(book, weight, torch.tensor([[[3.0, 4.0]], [[0.0, -1.0]], [[0.0, 0.0]]]).double())
    (norms,) = book.norms()
    assert norms.tolist() == [5.0, 1.0, 0.0]
    (total,) = book.clipped_sums(2.0)
    factor = 2 / (5 + 1e-6)
    torch.testing.assert_close(total, torch.tensor([[3 * factor, 4 * factor - 1]]).double())


def test_a_mean_loss_of_units_by_hand() -> None:
    """Six rows are three units of two; a unit's own mean loss counts three times its share."""
    book, weight = linear_book(unit_size=2, loss_reduction="mean")
    book.open_pass(6)
    write(book, weight, torch.tensor([[[3.0, 4.0]], [[0.0, -1.0]], [[0.0, 0.0]]]).double())
    (norms,) = book.norms()
    assert norms.tolist() == [15.0, 3.0, 0.0]
    (total,) = book.clipped_sums(1e9)
    assert total.tolist() == [[9.0, 12.0 - 3.0]]


def test_a_sum_of_losses_of_units_by_hand() -> None:
    book, weight = linear_book(unit_size=2, loss_reduction="sum")
    book.open_pass(2)
    write(book, weight, torch.tensor([[[6.0, 8.0]]]).double())
    (norms,) = book.norms()
    assert norms.tolist() == [5.0]
    (total,) = book.clipped_sums(1e9)
    assert total.tolist() == [[3.0, 4.0]]


def test_norms_are_over_all_layers() -> None:
    book, weight = linear_book()
    book.open_pass(1)
    write(book, weight, torch.tensor([[[3.0, 0.0]]]).double(), "a")
    write(book, weight, torch.tensor([[[0.0, 4.0]]]).double(), "b")
    (norms,) = book.norms()
    assert norms.tolist() == [5.0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_unit_that_is_not_finite_adds_nothing(bad: float) -> None:
    book, weight = linear_book()
    book.open_pass(3)
    write(book, weight, torch.tensor([[[1.0, 2.0]], [[bad, 1.0]], [[0.5, 0.5]]]).double())
    (total,) = book.clipped_sums(1e9)
    assert total.tolist() == [[1.5, 2.5]]


def test_float32_norms_keep_away_from_the_clipping_norm() -> None:
    weight = nn.Parameter(torch.zeros(1, 2))
    book = Book([weight], unit_size=1, loss_reduction="sum")
    book.open_pass(1)
    write(book, weight, torch.tensor([[[3e3, 4e3]]]))
    (total,) = book.clipped_sums(1.0)
    assert 1 - 2e-5 < float(total.double().norm()) < 1 - 5e-6


def test_passes_accumulate(by_hand: ByHand, losses_of: Losses) -> None:
    model, first, second = network(), drawn(5, 3, seed=1), 2 * drawn(3, 3, seed=2)
    wanted, norm = by_hand(model, torch.cat([first, second]))
    with keep_book(model, loss_reduction="sum") as book:
        for x in (first, second):
            losses_of(model(x)).sum().backward()
        assert book.accumulated() == 2
        assert [len(norms) for norms in book.norms()] == [5, 3]
        close(book.clipped_sums(norm), wanted)


def test_passes_of_mean_losses_accumulate(by_hand: ByHand, losses_of: Losses) -> None:
    model, first, second = network(), drawn(4, 3, seed=1), 2 * drawn(2, 3, seed=2)
    wanted, norm = by_hand(model, torch.cat([first, second]), unit_size=2)
    with keep_book(model, unit_size=2) as book:
        for x in (first, second):
            losses_of(model(x)).mean().backward()
        close(book.clipped_sums(norm), wanted)


def test_sums_are_forgotten_after_clipping(by_hand: ByHand, losses_of: Losses) -> None:
    model, first, second = network(), drawn(5, 3, seed=1), drawn(4, 3, seed=2)
    wanted, _ = by_hand(model, second, 1.0)
    with keep_book(model, loss_reduction="sum") as book:
        losses_of(model(first)).sum().backward()
        book.clipped_sums(1.0)
        assert book.accumulated() == 0
        assert all(float(each.abs().sum()) == 0 for each in book.clipped_sums(1.0))
        losses_of(model(second)).sum().backward()
        close(book.clipped_sums(1.0), wanted)


def test_looking_at_the_model_in_between_disturbs_nothing(
    by_hand: ByHand, losses_of: Losses
) -> None:
    model, x, other = network(), drawn(5, 3, seed=1), drawn(7, 3, seed=2)
    wanted, _ = by_hand(model, x, 1.0)
    with keep_book(model, loss_reduction="sum") as book:
        with torch.no_grad():
            model(other)
        model(other)  # with gradients, but nobody asks for them
        loss = losses_of(model(x)).sum()
        with torch.no_grad():
            model(other)
        loss.backward()
        model(other)
        with torch.inference_mode():
            model(other)
        close(book.clipped_sums(1.0), wanted)


def test_clearing_forgets_notes_but_no_forward_pass(by_hand: ByHand, losses_of: Losses) -> None:
    """Many a loop calls zero_grad between the loss and its backward pass."""
    model, x, other = network(), drawn(5, 3, seed=1), drawn(7, 3, seed=2)
    wanted, _ = by_hand(model, x, 1.0)
    with keep_book(model, loss_reduction="sum") as book:
        losses_of(model(other)).sum().backward()
        loss = losses_of(model(x)).sum()
        book.clear()
        loss.backward()
        assert book.accumulated() == 1
        close(book.clipped_sums(1.0), wanted)


def test_a_forward_pass_before_the_last_is_not_lost_silently(losses_of: Losses) -> None:
    model, x = network(), drawn(5, 3)
    with keep_book(model):
        first, second = model(x), model(-x)
        with pytest.raises(ModelError, match=r"layer 2 .* forward pass before the last .* call"):
            losses_of(first + second).sum().backward()


def test_a_second_backward_pass_of_one_forward_pass_is_refused(losses_of: Losses) -> None:
    model, x = network(), drawn(5, 3)
    with keep_book(model):
        loss = losses_of(model(x)).sum()
        loss.backward(retain_graph=True)
        with pytest.raises(ModelError, match="layer 2 was differentiated twice"):
            loss.backward()


def test_two_losses_of_two_heads_are_one_pass(by_hand: ByHand, losses_of: Losses) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 4)])

        def forward(self, x: Tensor) -> Tensor:
            self.answers = [head(x) for head in self.heads]
            return torch.cat(self.answers, 1)

    model, x = made(Heads()), drawn(6, 3)
    wanted, norm = by_hand(model, x)
    with keep_book(model, loss_reduction="sum") as book:
        book.most_passes = 1
        model(x)
        for answer in model.answers:
            losses_of(answer).sum().backward()
        close(book.clipped_sums(norm), wanted)


def test_most_passes_are_heeded(losses_of: Losses) -> None:
    model, x = network(), drawn(5, 3)
    with keep_book(model) as book:
        book.most_passes = 1
        for _ in range(2):
            losses_of(model(x)).mean().backward()
            book.clipped_sums(1.0)
        losses_of(model(x)).mean().backward()
        with pytest.raises(ModelError, match=r"a second backward pass .* call step\(\) and zero"):
            losses_of(model(x)).mean().backward()


def test_a_layer_that_is_used_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self.layer(self.layer(x))
            return answer

    with (
        keep_book(model := Twice()),
        pytest.raises(ModelError, match=r"layer layer is used twice .* give every use a layer"),
    ):
        model(torch.ones(2, 3))


def test_rows_that_are_not_the_models_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(3, 3))
    with keep_book(model), pytest.raises(ModelError, match=r"layer 1 sees 10 rows .* was given 5"):
        model(torch.ones(5, 2, 3))


def test_rows_that_are_no_whole_number_of_units_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with (
        keep_book(model, unit_size=4),
        pytest.raises(ModelError, match="6 rows are no whole number of units of 4"),
    ):
        model(torch.ones(6, 3))


def test_a_layer_that_is_called_without_its_model_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with keep_book(model), pytest.raises(ModelError, match="layer 0 is called without its model"):
        model[0](torch.ones(6, 3))


class Penalised(nn.Module):
    """A model whose loss uses a weight past its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer(x)
        return answer


@pytest.mark.parametrize("earlier", ["none", "one", "zeroed"])
def test_a_gradient_past_the_layer_is_noticed(earlier: str, losses_of: Losses) -> None:
    model, x = made(Penalised()), drawn(5, 3)
    if earlier != "none":
        losses_of(model(x)).sum().backward()
    if earlier == "zeroed":
        model.zero_grad(set_to_none=False)
    with keep_book(model) as book:
        for norm_of in (model.layer.weight, model.layer.bias):
            loss = losses_of(model(x)).mean() + 0.1 * norm_of.square().sum()
            loss.backward()
            with pytest.raises(
                ModelError, match=r"shape \(2.* past its layer.*through their layers"
            ):
                book.clipped_sums(1.0)
            model.zero_grad()
            book.clear()
        losses_of(model(x)).mean().backward()
        assert len(book.clipped_sums(1.0)) == 2


def test_a_gradient_in_the_place_of_the_last_one_is_noticed(losses_of: Losses) -> None:
    model, x = network(), drawn(5, 3)
    losses_of(model(x)).sum().backward()
    with keep_book(model) as book:
        losses_of(model(x)).mean().backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad = parameter.grad + 1  # as create_graph=True accumulates
        with pytest.raises(ModelError, match="got a gradient past its layer"):
            book.clipped_sums(1.0)


def test_gradients_of_earlier_steps_are_no_stray_ones(by_hand: ByHand, losses_of: Losses) -> None:
    model, plain, x = network(), network(), drawn(5, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with keep_book(model, loss_reduction="sum") as book:
        for step in range(4):
            plain.load_state_dict(model.state_dict())
            wanted, _ = by_hand(plain, x, 1.0)
            for part in (x[:2], x[2:]):
                losses_of(model(part)).sum().backward()
            sums = book.clipped_sums(1.0)
            close(sums, wanted)
            for parameter, gradient in zip(model.parameters(), sums, strict=True):
                if step < 2:
                    parameter.grad = gradient
                else:
                    assert parameter.grad is not None
                    parameter.grad.copy_(gradient)  # in place, where the last one was
            optimizer.step()


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zeroing_gradients_in_the_middle_is_no_stray_one(
    set_to_none: bool, losses_of: Losses
) -> None:
    model, x = network(), drawn(5, 3)
    losses_of(model(x)).sum().backward()
    with keep_book(model) as book:
        loss = losses_of(model(x)).sum()
        model.zero_grad(set_to_none)
        book.clear()
        loss.backward()
        assert len(book.clipped_sums(1.0)) == 4


def test_inputs_that_change_before_they_are_summed_are_noticed(losses_of: Losses) -> None:
    """A loader that fills one buffer again and again, and passes that accumulate."""
    model, x = made(nn.Linear(3, 2)), drawn(5, 3)
    with keep_book(model) as book:
        losses_of(model(x)).mean().backward()
        x.copy_(drawn(5, 3, seed=9))
        with pytest.raises(ModelError, match=r"layer Linear was given was changed in place .* own"):
            book.clipped_sums(1.0)


def test_second_derivatives_are_refused(losses_of: Losses) -> None:
    model, x = network(), drawn(5, 3).requires_grad_()
    with keep_book(model), pytest.raises(ModelError, match=r"layer 2: second deriv.*create_graph"):
        torch.autograd.grad(losses_of(model(x)).sum(), x, create_graph=True)


def test_different_rows_in_one_pass_are_refused(losses_of: Losses) -> None:
    book, weight = linear_book()
    book.open_pass(2)
    write(book, weight, torch.ones(2, 1, 2).double(), "a")
    current = book.use("b", 2)
    Page("b", book).write(current, Note(torch.ones(1).double(), (), lambda weights: ()))
    with pytest.raises(ModelError, match="different numbers of examples"):
        book.norms()
