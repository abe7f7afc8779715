"""What stands in a privacy ledger: versioned records, their exact bytes, and how they are chained.

An entry's bytes are its record as JSON with sorted keys, no spaces, ASCII only. A float is written
as Python's repr does it, the shortest decimal that reads back as the same double, and NaN and
infinities are refused; so a record has exactly one form, and bytes that are not what their own
record would be written as are refused too. Times are UTC to the second, as the hospital's clock
says them.

Each entry's hash is SHA-256(hash before + bytes), so that no entry can be changed, removed or moved
without changing all hashes after it (Haber & Stornetta 1991, "How to Time-Stamp a Digital
Document"), and the hospital signs every hash with Ed25519 (RFC 8032).
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from fedward.client.policy import Leaves, Policy
from fedward.common.config import NAME, Count, Frozen, Randomness, Unit
from fedward.common.errors import ConfigError, LedgerError
from fedward.common.privacy import GaussianEvent

RECORD_VERSION = 1
GENESIS = bytes(32)  # the hash before the first entry
MOST_LETTERS = 500  # of a message
NO_ORDER = "0" * 64
# Compiled before a hospital's process is forked off; each takes as long as a signature.
_NAME, _DIGEST = re.compile(NAME, re.ASCII), re.compile(r"[0-9a-f]{64}", re.ASCII)

Events = tuple[GaussianEvent, ...]
Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,500}$")]
Reason = Literal[
    "unit", "study", "period", "patients", "noise", "mechanism", "total", "policy", "consent"
]


@dataclass(frozen=True)
class Request:
    """A round that wants to read data: who asks, and the worst that it can release.

    Attributes:
        study, run, model: names, up to 100 letters, digits and `` ._:@/+-``.
        round: counts from 0.
        unit: what the events hide, one patient or one image.
        patients: how many (declared, public) patients the round draws from.
        events: all mechanisms that the round may run.
        leaves: what kind of private value is to leave.
        epochs: passes over the data in this round.
        order: SHA-256 of the order, so that an auditor sees for what was charged; zeros for none.
        randomness: where noise comes from: "secure", or "seeded", which protects nobody.

    Raises:
        ConfigError: a name or a number that no ledger takes.
    """

    study: str
    run: str
    round: int
    model: str
    unit: Unit
    patients: int
    events: Events
    leaves: Leaves = "update"
    epochs: int = 1
    order: str = NO_ORDER
    randomness: Randomness = "secure"

    def __post_init__(self) -> None:
        for key, name in (("study", self.study), ("run", self.run), ("model", self.model)):
            if not _NAME.fullmatch(name) or name.endswith("\n"):
                raise ConfigError(
                    f"{key} {name[:40]!r} is no name: use up to 100 letters, digits and ._:@/+-"
                )
        if not _DIGEST.fullmatch(self.order):
            raise ConfigError("an order's digest is 64 hexadecimal digits")
        if self.round < 0 or self.patients < 1:
            raise ConfigError(
                f"round {self.round} with {self.patients} patients does not exist: "
                "rounds count from 0, patients from 1"
            )


class Dated(Frozen):
    """What every record states: its version, and the hospital's clock."""

    version: Literal[1] = 1
    time: Time


class PolicyRecord(Dated):
    """The officer's policy from here on, and the key that signs; always the first entry."""

    kind: Literal["policy"] = "policy"
    public_key: Hex
    policy: Policy


class ReserveRecord(Dated):
    """A round may read data: its worst case is charged."""

    kind: Literal["reserve"] = "reserve"
    request: Request


class ReleaseRecord(Dated):
    """Bytes left the hospital through these mechanisms of an open reservation."""

    kind: Literal["release"] = "release"
    reservation: Count
    events: Events
    sha256: Hex
    size: Annotated[int, Field(ge=0)]


class SettleRecord(Dated):
    """What a reservation really spent; the rest of it is free again."""

    kind: Literal["settle"] = "settle"
    reservation: Count
    events: Events


class RefuseRecord(Dated):
    """A round was refused; nothing is charged."""

    kind: Literal["refuse"] = "refuse"
    request: Request
    reason: Reason
    message: Line


Record = PolicyRecord | ReserveRecord | ReleaseRecord | SettleRecord | RefuseRecord
_RECORDS: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def timestamp(moment: datetime) -> str:
    """A moment as records state it: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def canonical(document: Any) -> bytes:
    """The one form of a JSON document or a model. Raises ValueError for NaN and infinities."""
    if isinstance(document, BaseModel):
        document = document.model_dump(mode="json")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def read_record(content: bytes, *, entry: int) -> Record:
    """The record that an entry's bytes are.

    Raises:
        LedgerError: they are no record in its one form, or one of a newer Fedward.
    """
    try:
        document = json.loads(content)
    except (ValueError, TypeError, RecursionError):
        raise LedgerError("its record is not JSON", entry=entry) from None
    version = document.get("version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > RECORD_VERSION:
        raise LedgerError(
            f"written by a newer Fedward (record version {version}, this one reads "
            f"{RECORD_VERSION}): install a newer Fedward",
            entry=entry,
        )
    try:
        record = _RECORDS.validate_python(document)
    except (ValidationError, ConfigError):
        raise LedgerError("its record is none that Fedward writes", entry=entry) from None
    if canonical(record) != content:
        raise LedgerError("its record is not in its one form", entry=entry)
    return record


def chained(previous: bytes, content: bytes) -> bytes:
    """The hash of an entry, from the hash before it and its bytes."""
    return hashlib.sha256(previous + content).digest()


def sign(key: Ed25519PrivateKey, message: bytes) -> bytes:
    """64 bytes by which everybody with the public key knows who signed."""
    return key.sign(message)


def is_signed(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether a signature is this key's, over this message."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
