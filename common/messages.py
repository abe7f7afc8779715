"""What travels between aggregator and hospital, as types; common/wire.py has their form.

Two exchanges exist:

    (empty query)  ->  Hello     who are you (once per run)
    Order          ->  Update    train, and send the difference (once per round)
                                 or count right answers, with noise (once, if the study asks)
                   or  Refused   the hospital's budget or policy forbids it, in one known word
                   or  Failed    nothing more than that

An Update holds differences of arrays and nothing else: no counts, losses, scores or timings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedward.common.arrays import Arrays
from fedward.common.config import TrainingConfig
from fedward.common.noisy_counts import COUNTS

Task = Literal["statistics", "train", "metrics"]
TASKS: tuple[Task, ...] = ("statistics", "train", "metrics")
# What a hospital may answer instead of an update. The words are all that leaves: a text of its own
# could hold a path, a value or an id of a patient.
REFUSALS: Mapping[str, str] = {
    "order": "the order is not one that Fedward writes",
    "unit": "its budget counts other units of privacy than the order",
    "study": "its budget has no more for this study",
    "period": "its budget is not valid today",
    "patients": "its policy demands rounds of more patients",
    "noise": "the order asks for less noise than its policy demands",
    "mechanism": "the order asks for steps that cannot be accounted for",
    "total": "its privacy budget does not cover the round",
    "policy": "its policy forbids the order",
    "consent": "it cannot read its list of consents",
}


@dataclass(frozen=True)
class Hello:
    """How a hospital introduces itself.

    Attributes:
        name: the hospital's name.
        size: its public size, a rounded number of units (images, or patients where privacy is per
            patient); the exact number is private.
        version: of its Fedward.
    """

    name: str
    size: int
    version: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """One round's work for one hospital.

    Attributes:
        study, run: which study this is a round of, and which run of it; what a hospital's ledger
            charges. Empty names are refused by a hospital that keeps one.
        round: from 1.
        task: "train", "statistics" for the mean of fixed features, or "metrics" for noisy counts of
            the model's right answers.
        arrays: the global model.
        training: the study's training settings.
        learning_rate: of this round, after the schedule.
        resolution: side of the images in pixels, 48 or less.
        noise_multiplier: noise standard deviation per clipping norm; None trains without privacy.
        clipping_norm: L2 bound on what one unit of privacy adds.
        records_per_patient: under privacy per patient, how many of a patient's images enter a step
            at most; None: every image is a unit of its own.
        seed: of the simulation; a hospital derives its own generators from it, its name and the
            round.
    """

    round: int
    task: Task
    arrays: Arrays
    training: TrainingConfig
    learning_rate: float
    resolution: int
    noise_multiplier: float | None
    clipping_norm: float
    records_per_patient: int | None = None
    seed: int
    study: str = ""
    run: str = ""


@dataclass(frozen=True)
class Update:
    """What a hospital sends back: the model after the order minus the model before it."""

    round: int
    arrays: Arrays


def declared(order: Order) -> Arrays:
    """Arrays of the names, shapes and type that an answer to this order must have."""
    if order.task == "metrics":
        return {COUNTS: np.zeros(2, np.float32)}
    return order.arrays


@dataclass(frozen=True)
class Refused:
    """The hospital does not carry the order out; nothing was read, and nothing leaves.

    Attributes:
        reason: a key of ``REFUSALS``.
    """

    reason: str


@dataclass(frozen=True)
class Failed:
    """The order could not be carried out; why stays at the hospital."""
