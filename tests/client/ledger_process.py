"""A process of its own that writes to a ledger: tests let it race with others, and kill it.

Arguments: mode, ledger. "race" reserves until it is refused and prints how often it was not;
"nursery" starts, for every line that it reads, a process that reserves, releases and settles for
ever; it prints its number, what the ledger says may leave, and "dead" when somebody killed it.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward.client.ledger import Ledger
from fedward.client.ledger_entries import Request
from fedward.common.errors import BudgetError
from fedward.common.privacy import GaussianEvent


def noon() -> datetime:
    return datetime(2026, 5, 4, 12, tzinfo=UTC)


def request(number: int, events: tuple[GaussianEvent, ...]) -> Request:
    return Request("s", "r", number, "m", "patient", 500, events)


def race(ledger: Ledger) -> None:
    """Every reservation is settled to half of it."""
    step = GaussianEvent(10.0, 1.0, 4)
    done = 0
    sys.stdin.readline()  # all start at once
    try:
        while True:
            number = ledger.reserve(request(done, (step,)))
            done += 1
            ledger.settle(number, (GaussianEvent(10.0, 1.0, 2),))
    except BudgetError as error:
        print(done, error.reason)


def append(ledger: Ledger) -> None:
    """What is printed had left the hospital."""
    done = 0
    while True:
        reserved = GaussianEvent(1000.0 + done % 3, 1.0, 9)
        number = ledger.reserve(request(done, (reserved,)))
        released = GaussianEvent(reserved.noise_multiplier, 1.0, 5)
        ledger.release(number, (released,), sha256="0" * 64, size=1)
        print(released.noise_multiplier, released.steps, flush=True)
        ledger.settle(number, (released,))
        done += 1


def nursery(ledger: Ledger) -> None:
    """Children start at once, since everything is imported."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            append(ledger)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    mode, path = sys.argv[1:]
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    {"race": race, "nursery": nursery}[mode](Ledger(Path(path), key, clock=noon))
