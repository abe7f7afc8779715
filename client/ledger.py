"""A hospital's privacy ledger: reserve before data is read, settle afterwards, refuse the rest.

`Ledger.reserve` charges the worst case of a round and is on the disk before it returns; what dies
afterwards, however it dies, stays charged. `Ledger.settle` gives back what was not used, never what
was released. Every call is one transaction that looks at the budget and changes it, so processes
that call at the same time cannot spend the same budget twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fedward.client.budget import refusal
from fedward.client.keys import public_hex
from fedward.client.ledger_book import BrokenRule, held_for
from fedward.client.ledger_entries import (
    MOST_LETTERS,
    Events,
    PolicyRecord,
    Reason,
    RefuseRecord,
    ReleaseRecord,
    Request,
    ReserveRecord,
    SettleRecord,
    timestamp,
)
from fedward.client.ledger_file import (
    connected,
    create_file,
    create_tables,
    migrate,
    writing_to,
)
from fedward.client.ledger_page import Page, last_records, policy_in, read_policy_of
from fedward.client.policy import Policy
from fedward.common.errors import BudgetError, ConfigError, LedgerError

Clock = Callable[[], datetime]


class Ledger:
    """One hospital's ledger at ``path``, written with the hospital's key."""

    def __init__(self, path: Path, key: Ed25519PrivateKey, *, clock: Clock) -> None:
        self._path = path
        self._key = key
        self._clock = clock
        self._connection: Connection | None = None
        self._policy: Policy | None = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Entries of this block wait for the disk once each, rather than five times, and the
        policy is read once. `reserve` looks at the policy in force in any case."""
        with connected(self._path) as self._connection:
            try:
                self._policy = policy_in(self._connection, self._path)
                yield
            finally:
                self._connection = self._policy = None

    @classmethod
    def create(
        cls, path: Path, key: Ed25519PrivateKey, policy: Policy, *, clock: Clock
    ) -> "Ledger":
        """A new ledger whose first entry is the policy.

        Raises:
            RunError: there is one already, or the folder cannot be written.
        """
        create_file(path)
        with writing_to(path, new=True) as connection:
            create_tables(connection, path)
            page = Page(connection, key)
            page.add(_signed_off(policy, key, clock()))
            page.save()
        return cls(path, key, clock=clock)

    def amend(self, policy: Policy) -> None:
        """Replace the policy from here on; what is spent stays spent.

        Raises:
            ConfigError: unit or delta, with which everything was counted, would change.
        """
        with self.page() as page:
            try:
                page.add(_signed_off(policy, self._key, self._clock()))
            except BrokenRule as error:
                raise ConfigError(f"this policy cannot follow: {error}") from None

    @property
    def policy(self) -> Policy:
        """The policy in force; in a block of `kept_open`, that of its beginning."""
        return self._policy or read_policy_of(self._path)

    def reserve(self, request: Request) -> int:
        """Charge the worst case of a round, before any data is read; the reservation's number.

        The reservation of an order that comes a second time stays the one that it has, as long as
        nothing was released from it.

        Raises:
            BudgetError: budget or policy forbid it, which is written down too.
        """
        with self.page() as page:
            assert page.book is not None
            now = self._clock()  # after any wait for other processes
            refused = refusal(page.book, request, today=now.astimezone(UTC).date())
            if refused is None:
                again = held_for(page.book, request)
                if again is not None:
                    return again
                return page.add(ReserveRecord(time=timestamp(now), request=request))
            page.add(_refused(request, refused.reason, refused.message, now))
        raise BudgetError(refused.message, reason=refused.reason)

    def refuse(self, request: Request, message: str, *, reason: Reason = "policy") -> None:
        """Write down that a round was refused for a reason beyond the budget (one short line)."""
        with self.page() as page:
            page.add(_refused(request, reason, message, self._clock()))

    def release(self, reservation: int, events: Events, *, sha256: str, size: int) -> None:
        """Write down what is about to leave through which mechanisms of an open reservation:
        the SHA-256 of its bytes and how many they are.

        Raises:
            BudgetError: the reservation is not open or does not hold so much; nothing may leave.
        """
        time = timestamp(self._clock())
        self._follow_up(
            ReleaseRecord(
                time=time, reservation=reservation, events=events, sha256=sha256, size=size
            )
        )

    def conclude(self, reservation: int, events: Events, *, sha256: str, size: int) -> None:
        """`release` and `settle` of all that left, in one transaction: the common case."""
        time = timestamp(self._clock())
        left = ReleaseRecord(
            time=time, reservation=reservation, events=events, sha256=sha256, size=size
        )
        self._follow_up(left, SettleRecord(time=time, reservation=reservation, events=events))

    def has_released(self, sha256: str, *, among: int = 64) -> bool:
        """Whether bytes with this SHA-256 were let out, as one of the last entries says."""
        return any(
            isinstance(record, ReleaseRecord) and record.sha256 == sha256
            for record in last_records(self._path, among)
        )

    def settle(self, reservation: int, events: Events) -> None:
        """Close a reservation with what was really spent; the rest of it is free again.

        Raises:
            BudgetError: that is more than was reserved or less than was released, or the
                reservation is not open; it stays charged as it was.
        """
        time = timestamp(self._clock())
        self._follow_up(SettleRecord(time=time, reservation=reservation, events=events))

    def _follow_up(self, *records: ReleaseRecord | SettleRecord) -> None:
        with self.page() as page:
            for record in records:
                try:
                    page.add(record)
                except BrokenRule as error:
                    raise BudgetError(f"{self._path}: {error}", reason=record.kind) from None

    @contextmanager
    def page(self) -> Iterator[Page]:
        """One transaction on the ledger's end; it is committed when the block succeeds.

        Raises:
            LedgerError: the ledger is damaged, of another hospital or of a newer Fedward.
            RunError: another process holds it for too long, or the disk is full.
        """
        with writing_to(self._path, connection=self._connection) as connection:
            page = Page(connection, self._key)
            page.turn_to_end(anew=migrate(connection, self._path))
            if page.book is None or page.book.public_key != public_hex(self._key.public_key()):
                raise LedgerError(f"{self._path} is not signed with this key: use the hospital's")
            yield page
            page.save()


def _signed_off(policy: Policy, key: Ed25519PrivateKey, now: datetime) -> PolicyRecord:
    public = public_hex(key.public_key())
    return PolicyRecord(time=timestamp(now), public_key=public, policy=policy)


def _refused(request: Request, reason: Reason, message: str, now: datetime) -> RefuseRecord:
    try:
        return RefuseRecord(
            time=timestamp(now), request=request, reason=reason, message=message[:MOST_LETTERS]
        )
    except ValidationError:
        raise ConfigError("say in one line why a round is refused") from None
