"""The file of a ledger: its versions, and what happens to those of other Fedwards."""

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward.client.ledger import Ledger
from fedward.client.ledger_check import verify
from fedward.client.ledger_entries import Request
from fedward.client.ledger_file import (
    VERSION,
    connected,
    create_file,
    reading,
    version_of,
    writing_to,
)
from fedward.client.ledger_page import read_standing
from fedward.common.errors import LedgerError, RunError
from fedward.common.privacy import GaussianEvent


def ask(count: int) -> Request:
    return Request("s", "r", 0, "m", "patient", 500, (GaussianEvent(10.0, 1.0, count),))


def set_version(path: Path, version: int, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in (*statements, f"PRAGMA user_version = {version}"):
            connection.execute(statement)
        connection.commit()


def found_version(path: Path) -> int:
    with reading(path) as connection:
        return version_of(connection, path)


def test_the_disk_has_what_is_committed(ledger: Ledger, path: Path) -> None:
    ledger.reserve(ask(1))
    with writing_to(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_ledger_of_version_1_is_upgraded_by_its_next_entry(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey
) -> None:
    ledger.settle(ledger.reserve(ask(9)), (GaussianEvent(10.0, 1.0, 5),))
    before = read_standing(path)
    set_version(path, 1, "DROP TABLE totals")
    assert found_version(path) == 1
    assert read_standing(path) == before
    assert verify(path, key.public_key()) == before
    assert found_version(path) == 1
    ledger.reserve(ask(1))
    assert found_version(path) == VERSION == 2
    after = read_standing(path)
    assert (after.entries, after.epsilon_spent) == (4, before.epsilon_spent)
    assert verify(path, key.public_key()) == after


def test_a_damaged_ledger_is_not_upgraded(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey
) -> None:
    ledger.reserve(ask(1))
    set_version(
        path,
        1,
        "DROP TABLE totals",
        "DROP TRIGGER entries_stay",
        "UPDATE entries SET signature = zeroblob(64) WHERE number = 2",
    )
    with pytest.raises(LedgerError, match="entry 2: its signature"):
        ledger.reserve(ask(1))
    assert found_version(path) == 1


def test_a_ledger_of_a_newer_fedward_is_left_alone(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey
) -> None:
    set_version(path, VERSION + 1)
    before = path.read_bytes()
    for use in (
        lambda: ledger.reserve(ask(1)),
        lambda: read_standing(path),
        lambda: verify(path, key.public_key()),
    ):
        with pytest.raises(LedgerError, match="install a newer Fedward"):
            use()
    assert path.read_bytes() == before


def test_another_database_is_no_ledger(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE patients (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="no privacy ledger"):
        verify(path, key.public_key())
    assert path.read_bytes() == before


def test_a_ledger_that_another_process_holds_says_so(ledger: Ledger, path: Path) -> None:
    with (
        writing_to(path),
        connected(path, wait_s=0.01) as other,
        pytest.raises(RunError, match="held by another process: try again"),
    ):
        ExitStack().enter_context(writing_to(path, connection=other))


def test_entries_of_one_connection_are_seen_by_all(ledger: Ledger, path: Path) -> None:
    with ledger.kept_open():
        number = ledger.reserve(ask(1))
        assert read_standing(path).entries == 2
        ledger.settle(number, (GaussianEvent(10.0, 1.0, 1),))
        assert path.with_name(f"{path.name}-wal").exists()
    assert read_standing(path).entries == 3
    assert not path.with_name(f"{path.name}-wal").exists()


def test_what_fails_leaves_nothing(ledger: Ledger, path: Path) -> None:
    def half() -> None:
        with writing_to(path) as connection:
            connection.execute("DELETE FROM totals")
            connection.execute("SELECT * FROM absent")

    with pytest.raises(LedgerError, match="no such table"):
        half()
    assert read_standing(path).entries == 1


def test_an_interrupted_creation_can_be_repeated(
    path: Path, key: Ed25519PrivateKey, ledger: Ledger
) -> None:
    create_file(path)  # leaves what is there
    assert read_standing(path).entries == 1
    with pytest.raises(RunError, match="cannot write"):
        create_file(path / "below")
