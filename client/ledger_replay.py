"""Going over a ledger again from its first entry, trusting nothing that stands in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedward.client.budget import against_policy
from fedward.client.keys import public_from_hex, public_hex
from fedward.client.ledger_book import Book, BrokenRule, after, charged
from fedward.client.ledger_entries import (
    GENESIS,
    Events,
    PolicyRecord,
    Record,
    ReserveRecord,
    chained,
    is_signed,
    read_record,
)
from fedward.client.ledger_file import Row
from fedward.common.errors import LedgerError


class Moment(NamedTuple):
    """What was charged right after an entry, and how much might be."""

    entry: int
    limit: float
    delta: float
    events: Events


@dataclass
class Replayed:
    """What all entries come to.

    Attributes:
        hashes: of every entry; ``digest`` is the last.
        moments: after every reservation, by study; None is the total.
    """

    book: Book
    hashes: list[bytes] = field(default_factory=list)
    moments: dict[str | None, list[Moment]] = field(default_factory=dict)

    @property
    def entries(self) -> int:
        """How many there are."""
        return len(self.hashes)

    @property
    def digest(self) -> bytes:
        """The hash of the last entry."""
        return self.hashes[-1]


def replay(entries: Iterable[Row], public_key: Ed25519PublicKey | None) -> Replayed:
    """Check number, form, hash, signature and rules of all entries, but no epsilon.

    Without a public key the one that the first entry names is believed.

    Raises:
        LedgerError: naming the first entry that is wrong, and how.
    """
    done: Replayed | None = None
    digest = GENESIS
    for expected, (number, content, claimed, signature) in enumerate(entries, 1):
        if number != expected:
            raise LedgerError("it is missing", entry=expected)
        record = _record(content, claimed, signature, entry=number)
        digest = chained(digest, content)
        if digest != claimed:
            raise LedgerError("its hash is not that of its record and all before it", entry=number)
        public_key = public_key or _named_key(record, entry=number)
        if not is_signed(public_key, digest, signature):
            raise LedgerError("its signature is not of this key", entry=number)
        done = _next(done, record, public_key, entry=number)
        done.hashes.append(digest)
    if done is None:
        raise LedgerError("it is missing: a ledger has at least its policy", entry=1)
    return done


def _record(content: bytes, claimed: bytes, signature: bytes, *, entry: int) -> Record:
    if not all(isinstance(part, bytes) for part in (content, claimed, signature)):
        raise LedgerError("its columns are not bytes", entry=entry)
    return read_record(content, entry=entry)


def _named_key(record: Record, *, entry: int) -> Ed25519PublicKey:
    if not isinstance(record, PolicyRecord):
        raise LedgerError("a ledger begins with a policy", entry=entry)
    return public_from_hex(record.public_key)


def _next(
    done: Replayed | None, record: Record, public_key: Ed25519PublicKey, *, entry: int
) -> Replayed:
    try:
        book = after(done.book if done else None, record, entry=entry)
    except BrokenRule as error:
        raise LedgerError(str(error), entry=entry) from None
    if book.public_key != public_hex(public_key):
        raise LedgerError("the policy names another key than the one that signs", entry=entry)
    done = done or Replayed(book)
    done.book = book
    if isinstance(record, ReserveRecord):
        _note(done, record, entry)
    return done


def _note(done: Replayed, record: ReserveRecord, entry: int) -> None:
    """Check a reservation against the policy, and remember what was charged with it."""
    policy, study = done.book.policy, record.request.study
    forbidden = against_policy(policy, record.request, date.fromisoformat(record.time[:10]))
    if forbidden is not None:
        raise LedgerError(f"it reserves what the policy forbids: {forbidden.message}", entry=entry)
    for subject, limit in ((None, policy.epsilon_total), (study, policy.share(study))):
        moment = Moment(entry, limit, policy.delta, charged(done.book, subject))
        done.moments.setdefault(subject, []).append(moment)
