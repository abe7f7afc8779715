"""The report of a budget as data: what the ledger says, signed, and nothing about anybody."""

import json
import math
import sqlite3
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedward.client import budget_history
from fedward.client.audit_file import read_audit
from fedward.client.budget import standing
from fedward.client.budget_history import evenly, history, mechanism, release_lines
from fedward.client.budget_report import (
    BudgetReport,
    is_signed_by,
    read_report,
    report_bytes,
    signed,
)
from fedward.client.budget_reporting import Sources, make_report
from fedward.client.budget_words import alarms, charged, consortium_alarms
from fedward.client.consortium import gather, models
from fedward.client.egress import read_departures
from fedward.client.egress_check import compare
from fedward.client.ledger import Ledger
from fedward.client.ledger_check import check_anchor, verify
from fedward.client.ledger_entries import Record, ReleaseRecord, read_record
from fedward.client.ledger_file import reading, rows
from fedward.client.policy import Policy, StudyShares
from fedward.common.errors import ConfigError, DataError, LedgerError
from fedward.common.privacy import EXACT, NUMERIC, GaussianEvent, epsilon_of

sys.path.insert(0, str(Path(__file__).parent))

from budget_story import BEGIN, FULL, REPORTED, SAMPLED, audit_row, digest, fill, write_egress

ROUNDS = 7
LIST = """patient,consent,purpose,from,until
700001,no,*,2026-05-06,
700002,no,faces,2026-05-09,
700003,no,voices,2026-01-01,
700004,no,*,2026-01-01,
700005,yes,*,2026-01-01,
"""


@pytest.fixture
def filled(path: Path, key: Ed25519PrivateKey, policy: Policy) -> Path:
    fill(path, key, policy, rounds=ROUNDS, events=FULL)
    return path


@pytest.fixture
def sources(filled: Path, tmp_path: Path) -> Sources:
    """Everything that a report can be made from."""
    consents, egress, audit = (tmp_path / n for n in ("c.csv", "e.jsonl", "audit.json"))
    consents.write_text(LIST, encoding="utf-8")
    write_egress(egress, rounds=ROUNDS)
    audit.write_text(json.dumps({"rows": [audit_row()]}), encoding="utf-8")
    return Sources("st-anna", filled, consents, egress, audit)


@pytest.fixture
def report(sources: Sources, key: Ed25519PrivateKey) -> BudgetReport:
    return make_report(sources, key, now=REPORTED)


def records(path: Path) -> Iterator[Record]:
    with reading(path) as connection:
        entries = list(rows(connection))
    return (read_record(content, entry=number) for number, content, *_ in entries)


def break_entry(path: Path, number: int) -> None:
    """What an owner of the file can do to it."""
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER entries_stay")
    connection.execute("UPDATE entries SET signature = zeroblob(64) WHERE number = ?", [number])
    connection.commit()
    connection.close()


def test_it_tells_what_the_ledger_says(
    report: BudgetReport, filled: Path, key: Ed25519PrivateKey
) -> None:
    now = verify(filled, key.public_key())
    assert report.standing == now
    assert report.epsilon_left == pytest.approx(4.0 - now.epsilon_spent - now.epsilon_reserved)
    assert charged(report) == pytest.approx(
        epsilon_of([GaussianEvent(20.0, 1.0, 4 * (ROUNDS + 2))], delta=1e-4)
    )
    assert [one.asked.study for one in report.releases] == ["faces"] * ROUNDS + ["voices"]
    first = report.releases[0]
    assert first.events == FULL
    assert (first.size, first.sha256) == (1000, digest(0))
    assert first.epsilon == epsilon_of(FULL, delta=1e-4)
    assert (first.accountant, first.mechanism) == (EXACT, "Gaussian, full batch")
    assert [one.asked.round for one in report.refusals] == [0, 3, 6]
    assert {one.reason for one in report.refusals} == {"total"}
    assert [(one.asked.study, one.asked.round) for one in report.open] == [("voices", 8)]
    assert [one.epsilon_total for one in report.policies] == [3.0, 4.0]
    assert report.ledger.whole
    assert report.ledger.entries == now.entries
    assert alarms(report) == []


def test_epsilon_only_grows_and_ends_exactly(report: BudgetReport) -> None:
    values = [one.epsilon for one in report.curve]
    assert values[0] == 0
    assert values == sorted(values)
    assert values[-1] == charged(report)
    assert report.curve[-1].entry == report.ledger.entries


def test_who_left_is_counted_from_the_day_on_which_a_round_could_read(
    report: BudgetReport,
) -> None:
    assert report.consent is not None
    assert report.consent.everywhere == 2
    counted = {one.study: one.withdrawn for one in report.consent.studies}
    assert counted == {"faces": 3, "voices": 3}
    # Rounds are on 5 May and every day after; a patient leaves on the 6th and one on the 9th.
    assert [one.left_since for one in report.releases] == [2, 2, 1, 1, 1, 0, 0, 0]
    faces, voices = models([report])
    assert faces[:3] == ("faces", "r1", "scatter")
    assert (faces.releases, faces.touched, faces.left_since) == (ROUNDS, 5, 2)
    assert (voices.releases, voices.touched, voices.left_since) == (1, 0, 0)


def test_no_id_and_no_path_is_in_it(report: BudgetReport, tmp_path: Path) -> None:
    text = report_bytes(report).decode()
    assert "70000" not in text
    assert str(tmp_path) not in text
    assert "/data/here" not in text
    assert report.audit is not None
    assert "0.987654" not in text
    (line,) = report.audit.lines
    assert (line.recipe, line.right, line.epsilon_lower_bound_curve) == ("fer-private-8", 61, 0.5)


def test_what_left_is_compared_with_the_ledger(
    report: BudgetReport, filled: Path, tmp_path: Path
) -> None:
    assert report.egress is not None
    kinds = {one.kind: (one.messages, one.bytes) for one in report.egress.kinds}
    total = sum(1000 + number for number in range(ROUNDS)) + 1000
    assert kinds == {
        "hello": (1, 50),
        "update": (ROUNDS + 1, total),
        "refusal": (0, 0),
        "failure": (0, 0),
    }
    assert report.egress.unaccounted == ()
    assert report.egress.unsent == 1  # that of "voices"

    write_egress(tmp_path / "stray.jsonl", rounds=ROUNDS, stray=True)
    released = [one for one in records(filled) if isinstance(one, ReleaseRecord)]
    found = compare(read_departures(tmp_path / "stray.jsonl"), released)
    assert [(one.size, one.sha256) for one in found.unaccounted] == [(123, digest(4711))]
    with_stray = report.model_copy(update={"egress": found})
    assert "1 update with 123 bytes left that the ledger does not know" in alarms(with_stray)[0]


def test_the_anchor_is_one(report: BudgetReport, filled: Path, key: Ed25519PrivateKey) -> None:
    assert report.anchor is not None
    assert verify(filled, key.public_key(), report.anchor).entries == report.anchor.entries
    with reading(filled) as connection:
        hashes = [row[2] for row in rows(connection)]
    check_anchor(hashes, key.public_key(), report.anchor)


def test_of_a_broken_ledger_only_what_is_before_counts(
    filled: Path, key: Ed25519PrivateKey
) -> None:
    whole = make_report(Sources("h", filled), key, now=REPORTED)
    wrong = whole.releases[2].entry
    break_entry(filled, wrong)
    report = make_report(Sources("h", filled), key, now=REPORTED)
    assert not report.ledger.whole
    assert report.ledger.wrong_entry == wrong
    assert report.ledger.entries == wrong - 1
    assert report.releases == whole.releases[:2]
    assert report.anchor is None
    assert f"entry {wrong}: its signature is not of this key" in alarms(report)[0]
    assert is_signed_by(report, key.public_key())
    break_entry_one = Ed25519PrivateKey.generate()
    with pytest.raises(LedgerError, match="entry 1"):
        make_report(Sources("h", filled), break_entry_one, now=REPORTED)


def test_a_ledger_without_any_round(ledger: Ledger, path: Path, key: Ed25519PrivateKey) -> None:
    report = make_report(Sources("h", path), key, now=BEGIN)
    assert (report.releases, report.refusals, report.open) == ((), (), ())
    assert (report.consent, report.egress, report.audit) == (None, None, None)
    assert [one.epsilon for one in report.curve] == [0, 0]
    assert report.epsilon_left == 3.0


def test_sampled_batches_are_accounted_at_few_points(
    path: Path, key: Ed25519PrivateKey, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_history, "MOST_SAMPLED", 3)
    wide = policy.model_copy(update={"epsilon_per_study": StudyShares()})
    fill(path, key, wide, rounds=4, events=SAMPLED)
    told = history(records(path))
    releases = release_lines(told)
    assert [one.epsilon is not None for one in releases] == [True, False, True, False, True]
    assert {one.accountant for one in releases} == {NUMERIC}
    assert {one.mechanism for one in releases} == {"Gaussian, Poisson-sampled"}
    points = budget_history.curve(told, releases, standing(told.book, entries=0))
    assert len(points) == 5
    assert points[-2].epsilon <= points[-1].epsilon


@given(st.integers(0, 500), st.integers(2, 60))
def test_points_are_evenly_spread(count: int, most: int) -> None:
    places = evenly(count, most)
    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    if count:
        assert (places[0], places[-1]) == (0, count - 1)
        steps = {after - before for before, after in pairwise(places)}
        assert not steps or max(steps) - min(steps) <= 1


def test_a_mechanism_in_words() -> None:
    assert mechanism((*SAMPLED, *FULL)) == "Gaussian, full batch and Gaussian, Poisson-sampled"


def test_every_flipped_byte_of_the_file_is_found(
    ledger: Ledger, path: Path, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    report = make_report(Sources("h", path), key, now=BEGIN)
    content = report_bytes(report)
    file = tmp_path / "budget-report.json"
    file.write_bytes(content)
    assert read_report(file) == report
    assert is_signed_by(report, key.public_key())
    for place in range(len(content)):
        wrong = bytearray(content)
        wrong[place] ^= 1 << (place % 8)
        file.write_bytes(wrong)
        try:
            good = is_signed_by(read_report(file), key.public_key())
        except ConfigError:
            good = False
        assert not good, place


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"kind": "budget-report"}'])
def test_other_files_are_no_reports(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(ConfigError, match="is no budget report"):
        read_report(tmp_path / "r.json")
    with pytest.raises(ConfigError, match="cannot read the report"):
        read_report(tmp_path / "none.json")


def test_another_key_and_another_form_are_refused(
    report: BudgetReport, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    other = Ed25519PrivateKey.generate()
    assert not is_signed_by(report, other.public_key())
    assert not is_signed_by(signed(report, other), other.public_key())  # it names another key
    assert not is_signed_by(report.model_copy(update={"signature": "xyz"}), key.public_key())
    (tmp_path / "pretty.json").write_text(report.model_dump_json(indent=2), encoding="utf-8")
    with pytest.raises(ConfigError, match="not as Fedward wrote it"):
        read_report(tmp_path / "pretty.json")


def test_reports_are_gathered_with_what_their_signatures_are_worth(
    report: BudgetReport, path: Path, key: Ed25519PrivateKey, policy: Policy
) -> None:
    others = []
    for name in ("a", "b"):
        own, ledger = Ed25519PrivateKey.generate(), path.with_name(f"{name}.db")
        fill(ledger, own, policy, rounds=2, events=FULL)
        others.append((make_report(Sources(name, ledger), own, now=REPORTED), own.public_key()))
    (one, its_key), (two, _) = others
    forged = one.model_copy(update={"epsilon_left": 99.0})
    gathered = gather([report, forged, two], [key.public_key(), its_key], now=REPORTED)
    found = {one.report.hospital: one.signature for one in gathered.hospitals}
    assert found == {"a": "wrong", "b": "no key", "st-anna": "good"}
    assert len(consortium_alarms(gathered)) == 2
    faces, voices = models([one.report for one in gathered.hospitals])
    assert (faces.hospitals, faces.releases, faces.touched) == (3, 2 + 2 + ROUNDS, 5)
    assert (voices.hospitals, voices.releases) == (3, 3)
    again = json.loads(report_bytes(gathered))["hospitals"][2]["report"]
    assert is_signed_by(BudgetReport.model_validate(again), key.public_key())
    with pytest.raises(ConfigError, match="one key: give one report"):
        gather([report, report], [], now=REPORTED)
    with pytest.raises(ConfigError, match="no report to gather"):
        gather([], [], now=REPORTED)


def test_sources_that_are_not_as_they_should_be(
    sources: Sources, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="one line of up to 100 letters"):
        Sources("../up", sources.ledger)
    bad = tmp_path / "bad"
    bad.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match="no audit"):
        make_report(Sources("h", sources.ledger, audit=bad), key, now=REPORTED)
    with pytest.raises(ConfigError, match="cannot read the audit"):
        read_audit(tmp_path / "none")
    with pytest.raises(DataError, match="line 1 is none"):
        make_report(Sources("h", sources.ledger, egress=bad), key, now=REPORTED)
    with pytest.raises(LedgerError, match="no ledger"):
        make_report(Sources("h", tmp_path / "none.db"), key, now=REPORTED)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"rows": 3},
        {"rows": [1]},
        {"rows": [{"recipe": "x"}]},
        {"rows": [audit_row(epsilon_claimed=math.inf)]},
        {"rows": [audit_row(recipe="two\nlines")]},
    ],
)
def test_what_is_no_audit_is_refused(tmp_path: Path, document: object) -> None:
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError, match="is no audit"):
        read_audit(path)


def test_a_refuted_claim_is_an_alarm(report: BudgetReport, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    rows = [
        audit_row(),
        audit_row(recipe="other", passes=False, epsilon_lower_bound=3.0),
        audit_row(recipe="shown", passes=False, broken="no-noise"),
    ]
    path.write_text(json.dumps({"schema_version": 1, "rows": rows}), encoding="utf-8")
    (alarm,) = alarms(report.model_copy(update={"audit": read_audit(path)}))
    assert alarm == "An audit refuted ε 2.5 of other: do not rely on ε here."
