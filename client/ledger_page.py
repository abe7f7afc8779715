"""The end of a ledger inside a transaction: the last entry, and the totals that go with it."""

from functools import lru_cache
from pathlib import Path
from sqlite3 import Connection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fedward.client.budget import Standing, standing
from fedward.client.ledger_book import Book, after
from fedward.client.ledger_entries import (
    GENESIS,
    Record,
    canonical,
    chained,
    read_record,
    sign,
)
from fedward.client.ledger_file import (
    Totals,
    append_row,
    last_contents,
    last_row,
    read_totals,
    reading,
    rows,
    version_of,
    write_totals,
)
from fedward.client.ledger_replay import replay
from fedward.client.policy import Policy
from fedward.common.errors import ConfigError, LedgerError


class Page:
    """Appends entries, and keeps the book that they amount to."""

    def __init__(self, connection: Connection, key: Ed25519PrivateKey) -> None:
        self._connection = connection
        self._key = key
        self._before: tuple[Book, Standing] | None = None
        self.entries = 0
        self.digest = GENESIS
        self.book: Book | None = None

    def turn_to_end(self, *, anew: bool) -> None:
        """Read the totals, or make them anew from all entries where a migration asks for it.

        Raises:
            LedgerError: totals or entries are damaged.
        """
        if anew:
            done = replay(rows(self._connection), self._key.public_key())
            self.entries, self.digest, self.book = done.entries, done.digest, done.book
        else:
            totals = _current(self._connection)
            self._before = understood(totals)
            self.entries, self.digest, self.book = totals.entries, totals.digest, self._before[0]

    def add(self, record: Record) -> int:
        """Append one entry; its number.

        Raises:
            BrokenRule: it cannot follow.
        """
        book = after(self.book, record, entry=self.entries + 1)
        content = canonical(record)
        self.book, self.entries = book, self.entries + 1
        self.digest = chained(self.digest, content)
        row = (self.entries, content, self.digest, sign(self._key, self.digest))
        append_row(self._connection, row)
        return self.entries

    def save(self) -> None:
        """Write the totals, once for all entries of the transaction."""
        assert self.book is not None
        now = standing(self.book, entries=self.entries, before=self._before)
        totals = Totals(self.entries, self.digest, canonical(self.book), canonical(now))
        write_totals(self._connection, totals)


def read_book(path: Path) -> tuple[Book, Standing]:
    """What decides about the next request, and what a ledger says is spent, quickly and unchecked
    (see client/ledger_check.py).

    Raises:
        LedgerError: no ledger, or totals that are not of its last entry.
    """
    with reading(path) as connection:
        if version_of(connection, path) > 1:
            return understood(_current(connection))
        done = replay(rows(connection), None)
    return done.book, standing(done.book, entries=done.entries)


def read_standing(path: Path) -> Standing:
    """What a ledger says is spent, as ``read_book`` has it."""
    return read_book(path)[1]


def read_policy_of(path: Path) -> Policy:
    """The policy in force, as the totals have it. Raises LedgerError as `read_standing` does."""
    with reading(path) as connection:
        return policy_in(connection, path)


def policy_in(connection: Connection, path: Path) -> Policy:
    """As `read_policy_of`, by a connection that is there."""
    if version_of(connection, path) > 1:
        return understood(_current(connection))[0].policy
    return replay(rows(connection), None).book.policy


def last_records(path: Path, most: int) -> list[Record]:
    """The last entries of a ledger, the last one first; unchecked but for their form.

    Raises:
        LedgerError: no ledger, or an entry that is no record.
    """
    with reading(path) as connection:
        return [
            read_record(content, entry=number)
            for number, content in last_contents(connection, most)
        ]


@lru_cache(maxsize=4)
def understood(totals: Totals) -> tuple[Book, Standing]:
    """Totals as what they say. Raises LedgerError when they are damaged."""
    try:
        book = Book.model_validate_json(totals.book)
        return book, Standing.model_validate_json(totals.standing)
    except (ValidationError, ConfigError):
        raise LedgerError("the totals are damaged: `fedward budget verify` the ledger") from None


def _current(connection: Connection) -> Totals:
    totals = read_totals(connection)
    if totals is None or totals[:2] != last_row(connection):
        raise LedgerError("the totals are not those of the last entry: `fedward budget verify` it")
    return totals
