"""A hospital with a budget: a policy, a key, a clock that stands still, a ledger."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward.client.ledger import Ledger
from fedward.client.policy import Policy

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def noon() -> datetime:
    return NOON


@pytest.fixture
def policy() -> Policy:
    """Epsilon 3 in all and 2 per study, by patient."""
    return Policy.model_validate(
        {
            "unit": "patient",
            "patients": 1000,
            "epsilon_total": 3.0,
            "epsilon_per_study": {"default": 2.0},
            "valid_from": date(2026, 1, 1),
            "valid_until": date(2026, 12, 31),
            "minimum_patients": 100,
        }
    )


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path, key: Ed25519PrivateKey, policy: Policy) -> Ledger:
    return Ledger.create(path, key, policy, clock=noon)
