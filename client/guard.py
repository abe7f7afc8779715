"""Between an order and the data: may it be carried out, what does it cost, whose data may be used.

Everything that an order says is a wish of somebody who is not trusted. What it costs is computed
here from what would really run, and charged to the hospital's ledger before any data is read.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from datetime import UTC, date
from pathlib import Path

from fedward.client.consent import read_consents
from fedward.client.ledger import Clock, Ledger
from fedward.client.ledger_entries import Events, Request
from fedward.client.policy import Leaves, Policy
from fedward.common.config import Randomness, Unit
from fedward.common.errors import BudgetError, ConfigError, DataError
from fedward.common.faces import FaceSet
from fedward.common.files import unwritable
from fedward.common.messages import Order
from fedward.common.noise import round_event

_DIGEST = 32  # bytes of SHA-256


@dataclass(frozen=True)
class Guard:
    """What stands between orders and one hospital's data.

    Attributes:
        ledger: the hospital's budget.
        egress: the list of what left (client/egress.py).
        outbox: the last answer that was let out, to be sent again where the same order comes again:
            the same bytes tell nobody anything new, and cost nothing.
        consents: the hospital's list, where its policy asks for one.
        clock: the hospital's.
    """

    ledger: Ledger
    egress: Path
    outbox: Path
    consents: Path | None
    clock: Clock

    def charge(
        self, order: Order, digest: str, *, size: int, unit: Unit, randomness: Randomness
    ) -> "Charge":
        """Reserve the worst case of an order.

        Args:
            order: what is asked.
            digest: `digest_of` it.
            size: the hospital's public size in units; what the accounting goes by.
            unit: what the size counts.
            randomness: where the hospital's noise comes from; it is written down.

        Raises:
            BudgetError: budget, policy or the list of consents forbid it; that is written down.
            ConfigError: the order states names or numbers that no ledger takes.
        """
        policy = self.ledger.policy
        request = replace(
            request_for(order, digest, size=size, unit=unit, patients=policy.patients),
            randomness=randomness,
        )
        if not request.events:
            message = "the order is to train without noise: ask with a privacy budget"
            self.ledger.refuse(request, message, reason="noise")
            raise BudgetError(message, reason="noise")
        self._check_consents(policy, request)
        reservation = self.ledger.reserve(request)
        return Charge(self, digest, reservation, request.events)

    def consenting(self, faces: FaceSet, study: str) -> FaceSet:
        """The faces of patients whose data may be used for a study today; read anew every time.

        Raises:
            DataError: the list cannot be read, or nobody is left.
        """
        mode = self.ledger.policy.consent
        if mode == "none":
            return faces
        assert self.consents is not None  # `charge` looked
        allowed = read_consents(self.consents).allowed(
            faces.patients, mode=mode, study=study, today=self._today()
        )
        if not allowed.any():
            raise DataError(f"{self.consents} leaves no patient for study {study}")
        return faces if allowed.all() else faces.take(allowed.nonzero()[0])

    def sent_before(self, digest: str) -> bytes | None:
        """What was let out on this very order, if that was the last; only what the ledger knows."""
        try:
            with self.outbox.open("rb") as file:
                if file.read(_DIGEST) != bytes.fromhex(digest):
                    return None
                content = file.read()
        except OSError:
            return None
        return content if self.ledger.has_released(sha256(content)) else None

    def keep(self, digest: str, content: bytes) -> None:
        """Put an answer into the outbox. What is torn by a crash is none that the ledger knows.

        Raises:
            RunError: it cannot be written; nothing may leave.
        """
        try:
            handle = os.open(self.outbox, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(bytes.fromhex(digest) + content)
        except OSError as error:
            raise unwritable(self.outbox, error, "free some space") from None

    def _check_consents(self, policy: Policy, request: Request) -> None:
        """Nothing is charged, and no consent assumed, where the list cannot be read."""
        if policy.consent == "none":
            return
        try:
            if self.consents is None:
                raise DataError("the policy asks for a list of consents, and none is configured")
            read_consents(self.consents)
        except (DataError, ConfigError) as error:
            self.ledger.refuse(request, "the list of consents cannot be read", reason="consent")
            raise BudgetError(str(error), reason="consent") from None

    def _today(self) -> date:
        return self.clock().astimezone(UTC).date()


@dataclass(frozen=True)
class Charge:
    """An order that is paid for."""

    guard: Guard
    digest: str
    reservation: int
    events: Events

    def spend(self, content: bytes, *, sha256: str) -> None:
        """Write down that these bytes, with this SHA-256, leave now. What is on the disk afterwards
        is never below what left, wherever this stops.

        Raises:
            BudgetError: the reservation does not hold so much, or something left on it before.
            RunError: the disk is full; nothing may leave.
        """
        self.guard.keep(self.digest, content)
        self.guard.ledger.conclude(self.reservation, self.events, sha256=sha256, size=len(content))

    @property
    def mechanism(self) -> str:
        """In words, for the list of what left."""
        return "; ".join(
            f"Gaussian, noise multiplier {event.noise_multiplier:.6g}, "
            f"sampling rate {event.sample_rate:.6g}, {event.steps} steps"
            for event in self.events
        )


def request_for(order: Order, digest: str, *, size: int, unit: Unit, patients: int) -> Request:
    """What an order would cost at a hospital of this public size.

    Without noise there are no events: nothing that it cost could be accounted for.

    Raises:
        ConfigError: the order states names or numbers that no ledger takes.
    """
    asked: Unit = "image" if order.records_per_patient is None else "patient"
    noise = order.noise_multiplier
    events: Events = ()
    if noise is not None:
        events = (round_event(order.training, task=order.task, size=size, noise_multiplier=noise),)
    leaves: Leaves = "update" if order.task == "train" else order.task
    return Request(
        study=order.study,
        run=order.run,
        round=order.round,
        model=order.training.model,
        unit=asked,
        patients=size if unit == "patient" else patients,
        events=events,
        leaves=leaves,
        epochs=order.training.epochs,
        order=digest,
    )


def sha256(content: bytes) -> str:
    """As 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
