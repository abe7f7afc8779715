"""What is written into a book (common/bookkeeping.py): in every pass, a note of every layer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor, nn

Sums = Iterable[tuple[nn.Parameter, Tensor]]


@dataclass(frozen=True)
class Weights:
    """By what gradients are multiplied before they are summed.

    Attributes:
        units: one number per unit, (units,).
        rows: the same per example, (rows,); a unit's rows have its number.
    """

    units: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Note:
    """What a layer leaves in the book.

    Attributes:
        squared_norms: of the gradient of all of the layer's parameters, (units,); never less than
            the true value, whatever rounding does.
        held: tensors that ``sums`` needs, examples (or units) first.
        sums: (weights, *held) to pairs of parameter and weighted sum of its gradients.
        lent: memory of the book's (common/spare.py) in which ``sums`` reads.
        versions: of what is held, when the norms were computed.
    """

    squared_norms: Tensor
    held: tuple[Tensor, ...]
    sums: Callable[..., Sums]
    lent: Tensor | None = None
    versions: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", tuple(tensor._version for tensor in self.held))

    def unchanged(self) -> bool:
        """Whether what is held still is what the norms are about."""
        return all(x._version == was for x, was in zip(self.held, self.versions, strict=True))


@dataclass(eq=False)
class Pass:
    """One forward and backward pass through the model: its rows, and the notes of its layers."""

    rows: int
    used: set[str] = field(default_factory=set)
    notes: dict[str, Note] = field(default_factory=dict)
