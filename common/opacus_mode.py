"""One-pass private gradients as a mode of Opacus, for whoever uses its PrivacyEngine.

    from fedward.common.opacus_mode import register

    register()
    model, optimizer, loader = PrivacyEngine().make_private(
        module=model, optimizer=optimizer, data_loader=loader,
        noise_multiplier=1.0, max_grad_norm=1.0, grad_sample_mode="fedward",
    )

Everything else is Opacus's own: its Poisson loader, its accountants, its noise, its virtual steps.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, cast

import opacus.privacy_engine
import torch
from opacus.grad_sample.gsm_base import AbstractGradSampleHooks, AbstractGradSampleModule
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer import _check_processed_flag, _mark_as_processed
from torch import nn

from fedward.common.bookkeeping import Book
from fedward.common.errors import ModelError
from fedward.common.noise_source import NoiseSource
from fedward.common.private_layers import BoundBook

MODE = "fedward"
BOOK = "fedward_book"  # on every parameter, where Opacus keeps grad_sample
MADE = "_fedward_made"  # on an engine, while it makes a model private

Reduction = Literal["mean", "sum"]


class BookKeepingHooks(AbstractGradSampleHooks):  # type: ignore[misc]
    """Keeps a book on a model, in the place of Opacus's GradSampleHooks.

    Args:
        m: the model; it may hold the layers of common/private_layers.py.
        batch_first: must be True.
        loss_reduction: how the loss combines examples.
        unit_size: consecutive examples whose mean gradient is clipped as one.

    Raises:
        ModelError: naming a layer that cannot be trained privately.
    """

    def __init__(
        self,
        m: nn.Module,
        *,
        batch_first: bool = True,
        loss_reduction: Reduction = "mean",
        unit_size: int = 1,
    ) -> None:
        if not batch_first:
            raise ModelError("grad_sample_mode='fedward' needs the batch first: transpose inputs")
        super().__init__(m, batch_first=batch_first, loss_reduction=loss_reduction)
        self._bound = BoundBook(m, unit_size=unit_size, loss_reduction=loss_reduction)
        for parameter in self.book.parameters:
            setattr(parameter, BOOK, self.book)

    @property
    def book(self) -> Book:
        """What the layers write into."""
        return self._bound.book

    def forbid_grad_accumulation(self) -> None:
        """Under Poisson sampling, a second backward pass before the step is an error."""
        self.book.most_passes = 1

    def allow_grad_accumulation(self) -> None:
        """Any number of backward passes before a step."""
        self.book.most_passes = None

    def remove_hooks(self) -> None:
        """Give the model its own forward passes back."""
        self._bound.release()
        for parameter in self.book.parameters:
            if hasattr(parameter, BOOK):
                delattr(parameter, BOOK)


class BookKeepingModule(AbstractGradSampleModule):  # type: ignore[misc]
    """The wrapped model that make_private returns, in the place of Opacus's GradSampleModule.

    Arguments and errors: as ``BookKeepingHooks``.
    """

    def __init__(
        self,
        m: nn.Module,
        *,
        batch_first: bool = True,
        loss_reduction: Reduction = "mean",
    ) -> None:
        super().__init__(m, batch_first=batch_first, loss_reduction=loss_reduction)
        self._hooks = BookKeepingHooks(m, batch_first=batch_first, loss_reduction=loss_reduction)

    def forbid_grad_accumulation(self) -> None:
        """As ``BookKeepingHooks``."""
        self._hooks.forbid_grad_accumulation()

    def allow_grad_accumulation(self) -> None:
        """As ``BookKeepingHooks``."""
        self._hooks.allow_grad_accumulation()

    def remove_hooks(self) -> None:
        """As ``BookKeepingHooks``."""
        self._hooks.remove_hooks()

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Forget gradients and notes."""
        super().zero_grad(set_to_none)
        self._hooks.book.clear()


class BookKeepingOptimizer(DPOptimizer):  # type: ignore[misc, unused-ignore]
    """Opacus's DPOptimizer (clip, add noise, scale, step), with clipped sums out of the book."""

    @property
    def book(self) -> Book:
        """The book of the model whose parameters these are.

        Raises:
            ModelError: no book is kept on them.
        """
        books = {id(book): book for p in self.params for book in [getattr(p, BOOK, None)]}
        if len(books) != 1 or None in books.values():
            raise ModelError(
                "no book is kept on these parameters: make the model private with "
                "grad_sample_mode='fedward', and use the returned model and optimizer together"
            )
        return cast(Book, next(iter(books.values())))

    @property
    def grad_samples(self) -> list[torch.Tensor]:
        """Never formed; the parameters themselves tell Opacus that there is something to train."""
        return list(self.params)

    @property
    def accumulated_iterations(self) -> int:
        """Backward passes in this step."""
        return max(1, self._passes)

    _passes = 1

    def clip_and_accumulate(self) -> None:
        """Add the clipped sum of all noted gradients to ``summed_grad`` of every parameter."""
        book = self.book
        self._passes = book.accumulated()
        sums = book.clipped_sums(self.max_grad_norm)
        for parameter, gradient in zip(book.parameters, sums, strict=True):
            have = getattr(parameter, "summed_grad", None)
            parameter.summed_grad = gradient if have is None else have.add_(gradient)  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and notes; a sum that waits for the rest of a virtual step is kept."""
        super().zero_grad(set_to_none)
        self.book.clear()


class SourcedOptimizer(BookKeepingOptimizer):
    """A BookKeepingOptimizer whose noise is not Opacus's.

    Args:
        optimizer: takes the step.
        noise_multiplier: noise standard deviation per clipping norm.
        max_grad_norm: the clipping norm.
        expected_batch_size: public number of units that the sum is divided by.
        noise: where the noise comes from.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        expected_batch_size: int,
        noise: NoiseSource,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=expected_batch_size,
        )
        self._noise = noise

    def add_noise(self) -> None:
        """Leave every parameter's noisy sum in ``grad``."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            _check_processed_flag(parameter.summed_grad)
            noisy = self._noise.added_to(parameter.summed_grad, deviation)
            parameter.grad = noisy.view_as(parameter)
            _mark_as_processed(parameter.summed_grad)


def register() -> None:
    """Teach Opacus's PrivacyEngine ``grad_sample_mode="fedward"``; twice is as good as once."""
    engine = opacus.privacy_engine
    if hasattr(engine.get_optimizer_class, MODE):
        return
    engine.get_optimizer_class = _choosing(engine.get_optimizer_class)
    engine.PrivacyEngine._prepare_model = _preparing(engine.PrivacyEngine._prepare_model)
    engine.PrivacyEngine.make_private = _undoing(engine.PrivacyEngine.make_private)


def _choosing(others: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(others)
    def get_optimizer_class(
        clipping: str, distributed: bool, grad_sample_mode: str | None = None
    ) -> Any:
        if grad_sample_mode != MODE:
            return others(clipping, distributed, grad_sample_mode)
        if clipping != "flat" or distributed:
            raise ModelError("grad_sample_mode='fedward' clips flat and runs in one process")
        return BookKeepingOptimizer

    setattr(get_optimizer_class, MODE, True)
    return get_optimizer_class


def _preparing(others: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(others)
    def prepare_model(
        self: Any, module: nn.Module, *, grad_sample_mode: str = "hooks", **options: Any
    ) -> Any:
        if grad_sample_mode != MODE:
            return others(self, module, grad_sample_mode=grad_sample_mode, **options)
        first, reduction = options.get("batch_first", True), options.get("loss_reduction", "mean")
        if isinstance(module, AbstractGradSampleModule):
            same = module.batch_first == first and module.loss_reduction == reduction
            if not (isinstance(module, BookKeepingModule) and same):
                raise ModelError("the model is private already, in another way: give the plain one")
            return module
        # Opacus's validator is not asked: it refuses nn.LSTM, and the rules refuse what they must
        make = BookKeepingModule if options.get("wrap_model", True) else BookKeepingHooks
        made = make(module, batch_first=first, loss_reduction=reduction)
        setattr(self, MADE, made)
        return made

    return prepare_model


def _undoing(others: Callable[..., Any]) -> Callable[..., Any]:
    """Opacus prepares the model first, and may then refuse the loader or the optimizer (clipping
    that is not flat, say): the caller gets the model back as it was."""

    @wraps(others)
    def make_private(self: Any, **options: Any) -> Any:
        try:
            answer = others(self, **options)
        except BaseException:
            if MADE in vars(self):
                vars(self)[MADE].cleanup()
            raise
        finally:
            vars(self).pop(MADE, None)
        return answer

    return make_private
