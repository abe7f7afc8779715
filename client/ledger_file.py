"""The ledger as a file: SQLite, append-only, one transaction at a time, every commit on the disk.

Table ``entries`` is the ledger. Table ``totals`` holds one row derived from it, so that nobody
has to read 100,000 entries to say what is left; `fedward budget verify` compares the two.

WAL mode with synchronous=FULL: what is committed survives kill -9 and a loss of power, what is not
leaves no trace. BEGIN IMMEDIATE lets one process at a time look at the budget and charge it.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from fedward.common.errors import LedgerError, RunError

APPLICATION = 0x46574C47  # "FWLG"
VERSION = 2
WAIT_S = 60.0

_ENTRIES = (
    """CREATE TABLE entries (
        number INTEGER PRIMARY KEY,
        record BLOB NOT NULL CHECK (typeof(record) = 'blob'),
        hash BLOB NOT NULL CHECK (typeof(hash) = 'blob' AND length(hash) = 32),
        signature BLOB NOT NULL CHECK (typeof(signature) = 'blob' AND length(signature) = 64)
    )""",
    """CREATE TRIGGER entries_follow BEFORE INSERT ON entries
        WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM entries)
        BEGIN SELECT RAISE(ABORT, 'an entry follows the last one'); END""",
    """CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
        BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END""",
    """CREATE TRIGGER entries_remain BEFORE DELETE ON entries
        BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END""",
)
_TOTALS = (
    """CREATE TABLE totals (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        entries INTEGER NOT NULL,
        hash BLOB NOT NULL,
        book BLOB NOT NULL,
        standing BLOB NOT NULL
    )""",
)

Row = tuple[int, bytes, bytes, bytes]  # number, record, hash, signature


class Totals(NamedTuple):
    """What all entries up to number ``entries`` with hash ``digest`` amount to, as JSON."""

    entries: int
    digest: bytes
    book: bytes
    standing: bytes


Migration = Callable[[sqlite3.Connection], None]


def add_totals(connection: sqlite3.Connection) -> None:
    """Version 1 had no totals. Filling them is the caller's, who can read entries."""
    for statement in _TOTALS:
        connection.execute(statement)


MIGRATIONS: Mapping[int, Migration] = {1: add_totals}  # from this version to the next


def create_file(path: Path) -> None:
    """An empty file that its owner alone can read. None is overwritten, an empty one may stay.

    Raises:
        RunError: there is a ledger already, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from None


def create_tables(connection: sqlite3.Connection, path: Path) -> None:
    """All tables, inside a transaction. Raises RunError when there are some already."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise RunError(f"{path} holds a ledger already: a new policy is for `fedward budget amend`")
    for statement in (*_ENTRIES, *_TOTALS):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


@contextmanager
def connected(path: Path, *, wait_s: float = WAIT_S) -> Iterator[sqlite3.Connection]:
    """A connection for several transactions. As long as any process has one, what is committed
    stays in the WAL file and costs one wait for the disk; the last to close moves it, which costs
    four more.

    Raises:
        LedgerError: no ledger, or SQLite cannot read it.
    """
    with _explained(path), closing(_connect(path, "rw", wait_s)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_master")  # only now the WAL file is open
        yield connection


@contextmanager
def writing_to(
    path: Path, *, new: bool = False, connection: sqlite3.Connection | None = None
) -> Iterator[sqlite3.Connection]:
    """A transaction that holds the ledger alone. It is committed when the block succeeds, and
    on the disk when this returns; otherwise nothing of it remains.

    Args:
        path: the ledger.
        new: its file is empty.
        connection: from `connected`; None makes one for this transaction.

    Raises:
        LedgerError: no ledger, or SQLite cannot read it.
        RunError: another process holds it for too long, or the disk is full.
    """
    ready = connected(path) if connection is None else nullcontext(connection)
    with _explained(path), ready as connection:
        if new:
            connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of a ledger, of which nothing is changed.

    Raises:
        LedgerError: no ledger, or SQLite cannot read it.
    """
    # A reader of a WAL file makes a lock file beside it, and removes it only if it may write. Where
    # nobody may, as on a medium that an auditor got, the file without a journal is all there is.
    if os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK):
        mode = "rw"
    elif path.with_name(f"{path.name}-wal").exists():
        mode = "ro"
    else:
        mode = "ro&immutable=1"
    with _explained(path), closing(_connect(path, mode, WAIT_S)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        yield connection


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a ledger's tables.

    Raises:
        LedgerError: this is no ledger, or one of a newer Fedward.
    """
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise LedgerError(f"{path} is no privacy ledger: name the file of `fedward budget init`")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise LedgerError(
            f"{path} was written by a newer Fedward (tables of version {version}, this one knows "
            f"{VERSION}): install a newer Fedward"
        )
    return version


def migrate(connection: sqlite3.Connection, path: Path) -> bool:
    """Bring an older ledger's tables to this version, inside a transaction; whether it had to."""
    version = first = version_of(connection, path)
    while version < VERSION:
        MIGRATIONS[version](connection)
        version += 1
    if version > first:
        connection.execute(f"PRAGMA user_version = {version}")
    return version > first


def rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """All entries, first to last."""
    query = "SELECT number, record, hash, signature FROM entries ORDER BY number"
    return iter(connection.execute(query))


def last_row(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Number and hash of the last entry."""
    query = "SELECT number, hash FROM entries ORDER BY number DESC LIMIT 1"
    number, digest = connection.execute(query).fetchone() or (0, b"")
    return number, digest


def last_contents(connection: sqlite3.Connection, most: int) -> list[tuple[int, bytes]]:
    """Numbers and records of so many entries at the end, the last one first."""
    query = "SELECT number, record FROM entries ORDER BY number DESC LIMIT ?"
    return list(connection.execute(query, (most,)))


def append_row(connection: sqlite3.Connection, row: Row) -> None:
    """One more entry."""
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)


def read_totals(connection: sqlite3.Connection) -> Totals | None:
    """The totals, if there are any."""
    found = connection.execute("SELECT entries, hash, book, standing FROM totals").fetchone()
    return None if found is None else Totals(*found)


def write_totals(connection: sqlite3.Connection, totals: Totals) -> None:
    """The totals of the last entry, instead of those before."""
    connection.execute("INSERT OR REPLACE INTO totals VALUES (1, ?, ?, ?, ?)", totals)


def _connect(path: Path, mode: str, wait_s: float) -> sqlite3.Connection:
    if not path.exists():
        raise LedgerError(f"there is no ledger {path}: make one with `fedward budget init`")
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=wait_s, isolation_level=None
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors as Fedward's."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text:
            raise RunError(f"{path} is held by another process: try again") from None
        if "full" in text or "readonly" in text or "unable to open" in text:
            raise RunError(f"cannot write or open {path}: {text}; free or unlock it") from None
        raise LedgerError(f"{path} cannot be read ({text}): restore it from a backup") from None
