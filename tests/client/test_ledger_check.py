"""Whatever is done to a ledger afterwards, `verify` finds it and says where."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedward.client.budget import Standing
from fedward.client.ledger import Ledger
from fedward.client.ledger_check import (
    Anchor,
    check_anchor,
    envelope,
    first_over,
    make_anchor,
    read_anchor,
    verify,
)
from fedward.client.ledger_entries import (
    GENESIS,
    Record,
    Request,
    ReserveRecord,
    SettleRecord,
    canonical,
    chained,
    read_record,
    sign,
)
from fedward.client.ledger_file import reading, rows
from fedward.client.ledger_page import read_standing
from fedward.client.ledger_replay import Moment, replay
from fedward.common.errors import BudgetError, ConfigError, LedgerError
from fedward.common.privacy import GaussianEvent

LATER = datetime(2026, 6, 1, tzinfo=UTC)
Rows = list[tuple[int, bytes, bytes, bytes]]


def steps(count: int, noise: float = 10.0) -> tuple[GaussianEvent, ...]:
    return (GaussianEvent(noise, 1.0, count),)


def ask(count: int, noise: float = 10.0) -> Request:
    return Request("s", "r", 0, "m", "patient", 500, steps(count, noise))


@pytest.fixture
def public(key: Ed25519PrivateKey) -> Ed25519PublicKey:
    return key.public_key()


@pytest.fixture
def filled(ledger: Ledger, path: Path) -> Path:
    """Eight entries of every kind; one reservation stays open."""
    first = ledger.reserve(ask(8))
    ledger.release(first, steps(3), sha256="ab" * 32, size=99)
    ledger.settle(first, steps(4))
    with pytest.raises(BudgetError):
        ledger.reserve(ask(9, 1.0))
    ledger.settle(ledger.reserve(ask(2)), steps(2))
    ledger.reserve(ask(1))
    return path


@pytest.fixture
def entries(filled: Path) -> Rows:
    with reading(filled) as connection:
        return list(rows(connection))


def rewrite(path: Path, entries: Rows) -> None:
    """What somebody does who owns the file: the triggers go, anything can be written."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for trigger in ("follow", "stay", "remain"):
        connection.execute(f"DROP TRIGGER IF EXISTS entries_{trigger}")
    connection.execute("DELETE FROM entries")
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", entries)
    connection.commit()
    connection.close()


def forged(records: list[Record], key: Ed25519PrivateKey) -> Rows:
    """Records chained and signed as a ledger would, whatever they say."""
    made, digest = [], GENESIS
    for number, record in enumerate(records, 1):
        content = canonical(record)
        digest = chained(digest, content)
        made.append((number, content, digest, sign(key, digest)))
    return made


def test_a_whole_ledger_passes(filled: Path, public: Ed25519PublicKey) -> None:
    now = verify(filled, public)
    assert now == read_standing(filled)
    assert now.entries == 8
    assert now.epsilon_spent > 0
    assert now.epsilon_reserved > 0


def test_every_flipped_byte_is_found(entries: Rows, public: Ed25519PublicKey) -> None:
    tried = 0
    for index, row in enumerate(entries):
        for column in (1, 2, 3):
            content = row[column]
            for position in range(len(content)):
                wrong = bytearray(content)
                wrong[position] ^= 1 << (tried % 8)
                changed = [*row[:column], bytes(wrong), *row[column + 1 :]]
                with pytest.raises(LedgerError) as caught:
                    replay([*entries[:index], tuple(changed)], public)  # type: ignore[list-item]
                assert caught.value.entry == index + 1
                tried += 1
    assert tried > 8 * (32 + 64 + 100)


def test_a_flipped_byte_in_the_file_is_found(
    filled: Path, entries: Rows, public: Ed25519PublicKey
) -> None:
    changed = bytearray(entries[4][1])
    changed[20] ^= 1
    rewrite(filled, [*entries[:4], (5, bytes(changed), *entries[4][2:]), *entries[5:]])
    with pytest.raises(LedgerError, match=r"^entry 5: "):
        verify(filled, public)


def test_removed_swapped_doubled_and_renumbered_entries_are_found(
    entries: Rows, public: Ed25519PublicKey
) -> None:
    for gone in range(len(entries) - 1):
        left = [row for index, row in enumerate(entries) if index != gone]
        with pytest.raises(LedgerError, match=f"^entry {gone + 1}: it is missing"):
            replay(left, public)
        renumbered: Rows = [(number, *row[1:]) for number, row in enumerate(left, 1)]
        with pytest.raises(LedgerError, match=f"^entry {gone + 1}: "):
            replay(renumbered, public)
    for one in range(len(entries)):
        for other in range(one):
            order = list(range(len(entries)))
            order[one], order[other] = other, one
            swapped: Rows = [(n, *entries[index][1:]) for n, index in enumerate(order, 1)]
            with pytest.raises(LedgerError, match=f"^entry {other + 1}: "):
                replay(swapped, public)
    with pytest.raises(LedgerError, match="entry 9: "):
        replay([*entries, (9, *entries[-1][1:])], public)
    with pytest.raises(LedgerError, match="entry 1: it is missing"):
        replay([], public)


def test_entries_signed_with_another_key_are_found(entries: Rows, public: Ed25519PublicKey) -> None:
    other = Ed25519PrivateKey.generate()
    for index, (number, content, digest, _) in enumerate(entries):
        again: Rows = [(number, content, digest, sign(other, digest))]
        with pytest.raises(LedgerError, match=f"^entry {number}: its signature"):
            replay([*entries[:index], *again, *entries[index + 1 :]], public)
    records = [read_record(row[1], entry=row[0]) for row in entries]
    with pytest.raises(LedgerError, match="entry 1: its signature"):
        replay(forged(records, other), public)
    with pytest.raises(LedgerError, match="entry 1: the policy names another key"):
        replay(forged(records, other), other.public_key())


def test_a_cut_tail_is_found_with_the_anchor(
    filled: Path, entries: Rows, key: Ed25519PrivateKey, public: Ed25519PublicKey
) -> None:
    anchor = make_anchor(filled, key, now=LATER)
    assert (anchor.entries, anchor.time) == (8, "2026-06-01T00:00:00Z")
    verify(filled, public, anchor)
    hashes = [row[2] for row in entries]
    for left in range(1, 8):
        assert replay(entries[:left], public).entries == left  # by itself it looks whole
        with pytest.raises(LedgerError, match=f"^entry {left + 1}: it is missing: 8 entries"):
            check_anchor(hashes[:left], public, anchor)
    rewrite(filled, entries[:7])
    with pytest.raises(LedgerError, match="entry 8: it is missing"):
        verify(filled, public, anchor)


def test_an_anchor_still_fits_when_the_ledger_went_on(
    filled: Path, ledger: Ledger, key: Ed25519PrivateKey, public: Ed25519PublicKey
) -> None:
    anchor = make_anchor(filled, key, now=LATER)
    ledger.settle(8, ())
    assert verify(filled, public, anchor).entries == 9


def test_a_ledger_written_anew_is_found_with_the_anchor(
    filled: Path, entries: Rows, key: Ed25519PrivateKey, public: Ed25519PublicKey
) -> None:
    anchor = make_anchor(filled, key, now=LATER)
    records = [read_record(row[1], entry=row[0]) for row in entries]
    assert isinstance(records[3], SettleRecord)
    records[3] = records[3].model_copy(update={"events": steps(3)})
    anew = forged(records, key)
    done = replay(anew, public)  # the right key: by itself it looks whole
    with pytest.raises(LedgerError, match=r"entry 8: .*written anew"):
        check_anchor(done.hashes, public, anchor)


def test_anchors_are_checked_too(
    filled: Path, tmp_path: Path, key: Ed25519PrivateKey, public: Ed25519PublicKey
) -> None:
    anchor = make_anchor(filled, key, now=LATER)
    for change in ({"entries": 7}, {"time": "2027-06-01T00:00:00Z"}, {"signature": "xy"}):
        with pytest.raises(LedgerError, match="the anchor is not signed"):
            verify(filled, public, anchor.model_copy(update=change))
    path = tmp_path / "anchor.json"
    path.write_text(anchor.model_dump_json(), encoding="utf-8")
    assert read_anchor(path) == anchor
    path.write_text(json.dumps({"entries": 8}), encoding="utf-8")
    with pytest.raises(ConfigError, match="no anchor"):
        read_anchor(path)
    with pytest.raises(ConfigError, match="cannot read the anchor"):
        read_anchor(tmp_path / "absent.json")
    with pytest.raises(LedgerError, match="signature"):
        make_anchor(filled, Ed25519PrivateKey.generate(), now=LATER)
    assert Anchor.model_validate_json(anchor.model_dump_json()) == anchor


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: [*r, r[1].model_copy(update={"request": ask(90)})], "entry 9: it passes the "),
        (lambda r: [*r, r[1].model_copy(update={"request": ask(1, 0.4)})], "entry 9: it reserves"),
        (lambda r: [*r, r[3]], "entry 9: reservation 2 is not open"),
        (lambda r: r[1:], "entry 1: a ledger begins with a policy"),
        (
            lambda r: [*r, SettleRecord(time=r[0].time, reservation=8, events=steps(2))],
            "entry 9: more is settled",
        ),
        (lambda r: [*r[:3], r[3].model_copy(update={"events": ()})], "entry 4: less is settled"),
        (lambda r: [*r[:2], r[2].model_copy(update={"events": ()})], "entry 3: a release went"),
    ],
)
def test_amounts_that_the_ledger_would_refuse_are_found(
    filled: Path,
    entries: Rows,
    key: Ed25519PrivateKey,
    change: Callable[[list[Record]], list[Record]],
    message: str,
) -> None:
    records = [read_record(row[1], entry=row[0]) for row in entries]
    assert isinstance(records[1], ReserveRecord)
    rewrite(filled, forged(change(records), key))
    with pytest.raises(LedgerError, match=f"^{message}"):
        verify(filled, key.public_key())


def test_totals_that_are_not_those_of_the_entries_are_found(
    filled: Path, public: Ed25519PublicKey, ledger: Ledger
) -> None:
    whole = filled.read_bytes()
    for column, value, seen_at_once in (
        ("entries", 7, True),
        ("hash", bytes(32), True),
        ("book", b"{}", True),
        ("standing", b"{}", True),
    ):
        filled.write_bytes(whole)
        set_total(filled, column, value)
        with pytest.raises(LedgerError, match="totals"):
            verify(filled, public)
        if seen_at_once:
            with pytest.raises(LedgerError, match="totals"):
                ledger.reserve(ask(1))
    filled.write_bytes(whole)
    standing = read_standing(filled)
    lie: Standing = standing.model_copy(update={"epsilon_spent": standing.epsilon_spent / 2})
    set_total(filled, "standing", canonical(lie))
    with pytest.raises(LedgerError, match="not what the entries add up to"):
        verify(filled, public)


def set_total(path: Path, column: str, value: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE totals SET {column} = ?", (value,))
    connection.commit()
    connection.close()


def test_a_copy_is_checked_where_nobody_may_write(
    filled: Path, tmp_path: Path, public: Ed25519PublicKey
) -> None:
    folder = tmp_path / "auditor"
    folder.mkdir()
    copy = Path(shutil.copy(filled, folder))
    copy.chmod(0o400)
    folder.chmod(0o500)
    before = copy.read_bytes()
    try:
        assert verify(copy, public).entries == 8
        assert copy.read_bytes() == before
        assert [entry.name for entry in folder.iterdir()] == [copy.name]
    finally:
        folder.chmod(0o700)


def test_the_first_passing_of_a_budget_is_found_among_many() -> None:
    def moments(over: int | None) -> list[Moment]:
        counts = [1 + number % 5 for number in range(64)]
        if over is not None:
            counts[over] = counts[40] = 1000
        return [Moment(n + 2, 1.0, 1e-4, steps(count)) for n, count in enumerate(counts)]

    assert first_over([]) is None
    assert first_over(moments(None)) is None
    for over in (0, 1, 17, 39):
        found = first_over(moments(over))
        assert found is not None
        assert found.entry == over + 2


def test_an_envelope_over_the_limit_is_no_verdict() -> None:
    one, other = steps(40), steps(30, 9.0)
    both = [Moment(2, 2.5, 1e-4, one), Moment(4, 2.5, 1e-4, other)]
    assert envelope(both) == (*other, *one)
    assert first_over(both) is None
