"""Notes of recurrent layers: gradients that are sums of outer products over steps.

Legend: n: rows; u: units; t: steps; d: inputs.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedward.common.dense_rules import summed
from fedward.common.gram import CancelledError, by_unit, gram_is_cheaper, gram_squared_norms
from fedward.common.notes import Note, Sums, Weights


@dataclass(frozen=True)
class Product:
    """Weights that share a gradient, which is a sum of outer products over steps.

    Attributes:
        inputs: (t, n, d), of all weights side by side.
        outputs: gradients of what goes into the gates, (t, n, gates).
        weights: (gates, their share of d) each.
        biases: (gates,) each, or None.
    """

    inputs: Tensor
    outputs: Tensor
    weights: tuple[Any, ...]
    biases: tuple[Any, ...]

    def note(self, unit_size: int) -> Note:
        """The note of these weights and biases alone."""
        biases = float(sum(bias is not None for bias in self.biases))
        rows = self.inputs.transpose(0, 1), self.outputs.transpose(0, 1)
        inputs, outputs = (by_unit(x, unit_size) for x in rows)
        if gram_is_cheaper(inputs.shape[1], inputs.shape[2], outputs.shape[2]):
            with suppress(CancelledError):
                squared = gram_squared_norms(inputs, outputs, constant=biases)
                return Note(squared, rows, self._sums_of_rows)
        formed, of_bias = torch.bmm(outputs.transpose(1, 2), inputs), outputs.sum(1)
        squared = formed.square().sum((1, 2)) + biases * of_bias.square().sum(1)
        return Note(squared, (formed, of_bias), self._sums_of_units)

    def _sums_of_rows(self, weights: Weights, inputs: Tensor, outputs: Tensor) -> Sums:
        scaled = (outputs.transpose(0, 1) * weights.rows.view(1, -1, 1)).flatten(0, 1)
        seen = inputs.transpose(0, 1).reshape(len(scaled), -1)
        return self._split(scaled.T @ seen, scaled.sum(0))

    def _sums_of_units(self, weights: Weights, formed: Tensor, of_bias: Tensor) -> Sums:
        return self._split(summed(weights, formed), summed(weights, of_bias))

    def _split(self, gradient: Tensor, of_bias: Tensor) -> Sums:
        shares = gradient.split([weight.shape[1] for weight in self.weights], 1)
        yield from zip(self.weights, shares, strict=True)
        for bias in self.biases:
            if bias is not None:
                yield bias, of_bias.clone()


def note_of(products: list[Product], unit_size: int) -> Note:
    """One note of all products of a layer and direction."""
    notes = [product.note(unit_size) for product in products]
    if len(notes) == 1:
        return notes[0]
    counts = [len(note.held) for note in notes]

    def sums(weights: Weights, *held: Tensor) -> Sums:
        start = 0
        for note, count in zip(notes, counts, strict=True):
            yield from note.sums(weights, *held[start : start + count])
            start += count

    squared = torch.stack([note.squared_norms for note in notes]).sum(0)
    return Note(squared, tuple(x for note in notes for x in note.held), sums)
