"""Norms of gradients that are sums of outer products, without forming them.

A layer that is used at many places of one example (a convolution at every position, a recurrence
at every step) has the gradient G = sum over places t of g_t a_t^T. Its squared norm is
sum over s, t of (a_s . a_t)(g_s . g_t), which needs places^2 numbers instead of the size of G
(Li et al. 2022, "Large Language Models Can Be Strong Differentially Private Learners", section 4).

Where large terms cancel, rounding can make that sum too small, and an image made for the purpose
could then move the model by more than the clipping norm. So a bound of the rounding error is added
to it: what is returned is never below the true value. In float64, which is for checking, the bound
may not be seen either: gradients of which nearly everything cancels are left to be formed.

Legend: u: units; t: places; d: inputs; o: outputs.
"""

from math import prod

import torch
from torch import Tensor

SUMMING = 32  # roundings of the sums over places, which torch adds up in a tree

# What the two ways cost, in multiplications: numbers written and read again weigh this many.
MEMORY = 60.0

# Most of a squared norm that the bound of rounding may be in float64. Sums are to be right to 1e-10
# also where units cancel each other, which makes an error a larger part of what is left.
COARSE = 1e-11


class CancelledError(ArithmeticError):
    """In float64: so much of a gradient cancels that its norm has to be taken of itself, formed."""


def by_unit(rows: Tensor, unit_size: int) -> Tensor:
    """Rows (n, ..., d) as the places of units, (u, t, d), also where there are none."""
    places = prod(rows.shape[1:-1]) * unit_size
    return rows.reshape(len(rows) // unit_size, places, rows.shape[-1])


def gram_is_cheaper(places: int, inputs: int, outputs: int) -> bool:
    """Whether norms by Gram matrices and one sum for all units cost less than forming every unit's
    gradient of (outputs, inputs)."""
    by_gram = places**2 * (inputs + outputs)
    formed = MEMORY * inputs * outputs
    return by_gram < formed


def gram_squared_norms(inputs: Tensor, outputs: Tensor, *, constant: float = 0.0) -> Tensor:
    """Squared norms (u,) of the sums of outer products of inputs (u, t, d) and outputs (u, t, o).

    ``constant`` is the squared norm of further inputs, the same at all places: 1 for a bias.

    Raises:
        CancelledError: in float64 alone.
    """
    gram = torch.bmm(inputs, inputs.transpose(1, 2))
    return squared_norms_of(gram, outputs, terms=inputs.shape[2], constant=constant)


def squared_norms_of(
    gram: Tensor,
    outputs: Tensor,
    *,
    terms: int,
    constant: float = 0.0,
    sums: Tensor | None = None,
) -> Tensor:
    """As ``gram_squared_norms``, from Gram matrices (u, t, t) of the inputs; overwrites them.

    Args:
        gram: of the inputs, each entry a sum of so many ``terms``.
        outputs: gradients (u, t, o).
        terms: inputs at a place.
        constant: as in ``gram_squared_norms``.
        sums: sums (u, t) of every place's inputs, to be taken off for inputs minus their mean.

    Raises:
        CancelledError: in float64 alone.
    """
    lengths = gram.diagonal(dim1=1, dim2=2).clamp_min(0) + constant
    if sums is not None:
        gram.baddbmm_(sums.unsqueeze(2), sums.unsqueeze(1), alpha=-1 / terms)
    if constant:
        gram += constant
    of_outputs = torch.bmm(outputs, outputs.transpose(1, 2))
    lengths = (lengths * of_outputs.diagonal(dim1=1, dim2=2).clamp_min(0)).sqrt().sum(1)
    slack = (terms + outputs.shape[2] + SUMMING) * torch.finfo(gram.dtype).eps / 2
    squared, bound = gram.mul_(of_outputs).sum((1, 2)).clamp_min(0), slack * lengths.square()
    if gram.dtype is torch.float64 and bool((bound > COARSE * squared).any()):
        raise CancelledError
    return squared + bound
