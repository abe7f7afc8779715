"""Whose rows are whose, where the unit of privacy is the patient, and which of them a step uses.

A patient is one unit, however many records there are: at most k of them enter a step, drawn afresh
for every step without replacement, and their mean gradient is clipped as one. A network takes
exactly k rows of every patient in the step, one after the other, as the book's ``unit_size`` wants
(common/bookkeeping.py). Of a patient with fewer than k records every record is then taken k / count
times, rounded down or up; chance decides which are rounded up. It still is one bounded unit:
nothing but the patient's own records enters its rows, and the mean over them is clipped as one,
whatever they are. So k is a public number of the study, never one of the data: if the largest
patient decided it, that patient would change the rows of all others.

Source: Chua et al. 2024, "Mind the Privacy Unit! User-Level Differential Privacy for Language Model
Fine-Tuning": user-wise DP-SGD, a user's gradient being the mean over k of the user's records.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class PatientRows:
    """The rows of a hospital's patients.

    Attributes:
        rows: all rows, patient after patient, int64 (n,).
        counts: how many of them are each patient's, at least one, int64 (patients,).
        records: k, a public number; so many of a patient's records enter a step at most.
    """

    rows: Tensor
    counts: Tensor
    records: int

    def __len__(self) -> int:
        return len(self.counts)

    def of_each(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Exactly k rows of every chosen patient, drawn afresh.

        Args:
            chosen: patients, as positions in ``counts``, int64 (u,).
            generator: randomness of the draw.

        Returns:
            Rows (u, k). Where a patient has k records or more they are different; where not, each
            is there k / count times, rounded down or up.
        """
        shuffled, starts = self._shuffled(chosen, generator)
        places = torch.arange(self.records) % self.counts[chosen][:, None]
        return shuffled[starts[:, None] + places]

    def once_each(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Different rows of every patient, k or all where there are fewer, drawn afresh.

        Yields:
            Rows (u, s) of the patients that give s rows each, for every such s up to k; ascending
            within a patient.
        """
        shuffled, starts = self._shuffled(torch.arange(len(self)), generator)
        given = self.counts.clamp_max(self.records)
        for many in torch.unique(given).tolist():
            yield shuffled[starts[given == many][:, None] + torch.arange(many)].sort(1).values

    def _shuffled(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """All rows of the chosen patients, patient after patient, in random order within each; and
        where every patient's begin."""
        counts = self.counts[chosen]
        starts = counts.cumsum(0) - counts
        owners = torch.repeat_interleave(torch.arange(len(chosen)), counts)
        first = (self.counts.cumsum(0) - self.counts)[chosen]
        own = self.rows[torch.arange(len(owners)) + (first - starts)[owners]]
        order = torch.rand(len(own), generator=generator, dtype=torch.float64).argsort()
        order = order[owners[order].argsort(stable=True)]
        return own[order], starts


def patient_rows(patients: NDArray[np.int64], *, records: int) -> PatientRows:
    """Whose rows are whose.

    Args:
        patients: the patient's number of every row, int64 (n,), in any order.
        records: k of ``PatientRows``, at least 1.
    """
    if records < 1:
        raise ValueError(f"a patient cannot give {records} records to a step")
    _, counts = np.unique(patients, return_counts=True)
    rows = np.argsort(patients, kind="stable")
    return PatientRows(torch.from_numpy(rows), torch.from_numpy(counts.astype(np.int64)), records)
