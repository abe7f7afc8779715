"""A ledger made by hand: two studies, refusals, an amended policy, an open reservation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward.client.egress import Departure, note
from fedward.client.ledger import Ledger
from fedward.client.ledger_entries import Events, Request, timestamp
from fedward.client.policy import Policy
from fedward.common.errors import BudgetError
from fedward.common.privacy import GaussianEvent

BEGIN = datetime(2026, 5, 4, 12, tzinfo=UTC)
REPORTED = datetime(2026, 6, 30, 9, 30, tzinfo=UTC)
FULL = (GaussianEvent(20.0, 1.0, 4),)
SAMPLED = (GaussianEvent(1.1, 0.05, 20),)
TOO_MUCH = (GaussianEvent(1.0, 1.0, 500),)


class Days:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, days: float) -> None:
        self.now += timedelta(days=days)


def request(study: str, number: int, events: Events, *, run: str = "r1") -> Request:
    return Request(study, run, number, "scatter", "patient", 1000, events)


def digest(number: int) -> str:
    return f"{number:064x}"


def fill(
    path: Path, key: Ed25519PrivateKey, policy: Policy, *, rounds: int, events: Events
) -> None:
    """Per round of study "faces" a release; every third day study "voices" is refused."""
    clock = Days()
    ledger = Ledger.create(path, key, policy, clock=clock)
    for number in range(rounds):
        clock.pass_by(1)
        held = ledger.reserve(request("faces", number, events))
        ledger.release(held, events, sha256=digest(number), size=1000 + number)
        ledger.settle(held, events)
        if number % 3 == 0:
            with pytest.raises(BudgetError):
                ledger.reserve(request("voices", number, TOO_MUCH))
    clock.pass_by(1)
    ledger.amend(policy.model_copy(update={"epsilon_total": policy.epsilon_total + 1}))
    clock.pass_by(2)
    held = ledger.reserve(request("voices", 7, events))
    ledger.release(held, events, sha256=digest(999), size=77)
    ledger.settle(held, events)
    clock.pass_by(1)
    ledger.reserve(request("voices", 8, events))


def write_egress(path: Path, *, rounds: int, stray: bool = False) -> None:
    """What left: a hello, every update of "faces", one of them twice; and perhaps a stray one."""

    def add(kind: str, sha256: str, size: int, number: int = 0) -> None:
        left = Departure(
            time=timestamp(BEGIN),
            kind=kind,  # type: ignore[arg-type]
            study="faces",
            run="r1",
            round=number,
            size=size,
            sha256=sha256,
            mechanism="Gaussian",
        )
        note(path, left)

    add("hello", digest(10**6), 50)
    for number in range(rounds):
        add("update", digest(number), 1000 + number, number)
    add("update", digest(0), 1000)
    if stray:
        add("update", digest(4711), 123)


def audit_row(**changed: object) -> dict[str, object]:
    """A row of audit.json, with something that does not belong into a report."""
    row: dict[str, object] = {
        "recipe": "fer-private-8",
        "broken": None,
        "unit": "patient",
        "epsilon_claimed": 2.5,
        "delta": 1e-4,
        "canaries": 1000,
        "guesses": 100,
        "right": 61,
        "confidence": 0.95,
        "epsilon_lower_bound": 0.25,
        "epsilon_lower_bound_curve": 0.5,
        "passes": True,
        "attack_auc": 0.987654,
        "where": "/data/here",
    }
    return {**row, **changed}
