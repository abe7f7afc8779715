"""Consent: who is used, and a list that is not as it should be stops everything."""

import csv
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedward.client.consent import COLUMNS, MOST_BYTES, Consents, Statement, read_consents
from fedward.common.errors import DataError

HEADER = ",".join(COLUMNS)
MAY = date(2026, 5, 4)
PATIENTS = np.array([7, 7, 8, 9, 12], np.int64)


def listed(path: Path, *lines: str) -> Consents:
    path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    return read_consents(path)


def table(path: Path, *rows: tuple[object, ...], columns: str = '"patient","consent"') -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE consent ({columns})")
        marks = ",".join("?" * len(columns.split(",")))
        connection.executemany(f"INSERT INTO consent VALUES ({marks})", rows)
    return path


ALL_COLUMNS = ",".join(f'"{name}"' for name in COLUMNS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "consent.csv"


def used(consents: Consents, mode: str, *, study: str = "s", today: date = MAY) -> list[bool]:
    assert mode in ("opt-out", "opt-in")
    allowed = consents.allowed(PATIENTS, mode=mode, study=study, today=today)  # type: ignore[arg-type]
    assert allowed.dtype == np.bool_
    return [bool(one) for one in allowed]


def test_who_opts_out_is_not_used_and_who_is_unknown_here_does_no_harm(path: Path) -> None:
    consents = listed(path, "7,no,*,2026-05-04,", "4711,no,*,2026-01-01,")
    assert used(consents, "opt-out") == [False, False, True, True, True]
    assert used(consents, "opt-in") == [False] * 5
    assert used(consents, "opt-out", today=date(2026, 5, 3)) == [True] * 5


def test_a_no_wins_over_a_yes_in_any_order(path: Path) -> None:
    yes, no = "8,yes,s,2026-01-01,", "8,no,*,2026-05-01,2026-05-04"
    for lines in ([yes, no], [no, yes]):
        consents = listed(path, *lines)
        assert not any(used(consents, "opt-in"))
        assert used(consents, "opt-out") == [True, True, False, True, True]
        after = used(consents, "opt-in", today=date(2026, 5, 5))
        assert after == [False, False, True, False, False]


def test_a_purpose_is_one_study_or_all(path: Path) -> None:
    consents = listed(path, "7,no,s,2026-01-01,", "9,no,other,2026-01-01,", "12,no,*,2026-01-01,")
    assert used(consents, "opt-out") == [False, False, True, True, False]
    assert used(consents, "opt-out", study="S") == [True, True, True, True, False]


def test_the_list_may_be_written_in_many_ways(path: Path) -> None:
    path.write_bytes(
        b"\xef\xbb\xbf Until ,FROM,purpose,consent,patient\r\n"
        b',2026-01-01,"s", NO , 7 \r\n\r\n2026-12-31,2026-01-01,*,Yes,8'
    )
    consents = read_consents(path)
    assert used(consents, "opt-out") == [False, False, True, True, True]
    assert used(consents, "opt-in") == [False, False, True, False, False]


def test_a_list_without_patients_is_no_mistake(path: Path) -> None:
    consents = listed(path)
    assert used(consents, "opt-out") == [True] * 5
    assert used(consents, "opt-in") == [False] * 5


@pytest.mark.parametrize("name", ["consent.db", "consent.sqlite", "CONSENT.DB"])
def test_a_table_is_read_and_not_changed(tmp_path: Path, name: str) -> None:
    rows = [(7, "no", "*", "2026-01-01", None), (" 8 ", "yes", "s", "2026-01-01", "2026-05-04")]
    path = table(tmp_path / name, *rows, columns=ALL_COLUMNS)
    before = path.read_bytes()
    consents = read_consents(path)
    assert used(consents, "opt-out") == [False, False, True, True, True]
    assert used(consents, "opt-in") == [False, False, True, False, False]
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_who_left_since_a_day(path: Path) -> None:
    consents = listed(
        path,
        "1,no,*,2026-01-01,",  # long gone
        "2,no,s,2026-03-01,",  # on the very day
        "3,no,*,2026-04-01,",
        "3,no,s,2026-04-02,",  # one patient, twice
        "4,no,*,2026-01-01,",
        "4,no,s,2026-04-01,",  # had left before
        "5,no,s,2026-04-01,2026-05-03",  # is back
        "6,no,s,2026-05-05,",  # not yet
        "7,no,other,2026-04-01,",
        "8,no,*,2026-01-01,2026-02-01",
        "8,no,*,2026-04-01,",  # was there in between
        "9,yes,s,2026-01-01,",
    )
    assert consents.left_since(date(2026, 3, 1), study="s", today=MAY) == 3
    assert consents.left_since(date(2026, 3, 2), study="s", today=MAY) == 2
    assert consents.left_since(MAY, study="s", today=MAY) == 0
    assert consents.withdrawn(study="s", today=MAY) == 5
    assert consents.withdrawn(study="other", today=MAY) == 5


WRONG = {
    "no header": ("4711,no,*,2026-01-01,", "line 1: no column patient, consent"),
    "empty": ("", "line 1: no column patient"),
    "semicolons": (HEADER.replace(",", ";") + "\n4711;no;*;2026-01-01;", "has commas"),
    "a column missing": ("patient,consent,purpose,from\n4711,no,*,2026-01-01", "column until"),
    "a column too many": (f"{HEADER},name\n4711,no,*,2026-01-01,,x", "remove the others"),
    "a column twice": (f"{HEADER},until\n4711,no,*,2026-01-01,,", "remove the others"),
    "a word": (f"{HEADER}\n4711,nein,*,2026-01-01,", "line 2: consent is neither yes nor no"),
    "no word": (f"{HEADER}\n4711,,*,2026-01-01,", "line 2: consent is neither yes nor no"),
    "no purpose": (f"{HEADER}\n4711,no,,2026-01-01,", "line 2: purpose is no study's name"),
    "a star too many": (f"{HEADER}\n4711,no,**,2026-01-01,", "or * for all studies"),
    "no from": (f"{HEADER}\n4711,no,*,,", "from is no day"),
    "a day that is none": (f"{HEADER}\n4711,no,*,2026-02-30,", "line 2: from is no day"),
    "a German day": (f"{HEADER}\n4711,no,*,04.05.2026,", "write it as 2026-05-04"),
    "a week": (f"{HEADER}\n4711,no,*,2026-01-01,2026-W19-1", "until is no day"),
    "backwards": (f"{HEADER}\n4711,no,*,2026-01-02,2026-01-01", "until is before from"),
    "no id": (f"{HEADER}\n\n ,no,*,2026-01-01,", "line 3: the patient is no number"),
    "a name": (f"{HEADER}\nP4711,no,*,2026-01-01,", "nobody would match"),
    "leading zeros": (f"{HEADER}\n04711,no,*,2026-01-01,", "without leading zeros"),
    "other digits": (f"{HEADER}\n٤٧١١,no,*,2026-01-01,", "write a whole number"),
    "a decimal": (f"{HEADER}\n4711.0,no,*,2026-01-01,", "write a whole number"),
    "too large": (f"{HEADER}\n9223372036854775808,no,*,2026-01-01,", "nobody would match"),
    "a cell missing": (f"{HEADER}\n4711,no,*,2026-01-01", "line 2: 4 cells, not 5"),
    "an open quote": (f'{HEADER}\n"4711,no,*,2026-01-01,\n4712,no,*,2026-01-01,', "quotation"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_a_malformed_list_is_refused_in_a_line_without_an_id(
    path: Path, text: str, message: str
) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_consents(path)
    told = str(caught.value)
    assert message in told
    assert told.startswith(str(path))
    assert "\n" not in told
    assert not any(secret in told for secret in ("4711", "9223372036854775808", "٤٧١١"))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused(path: Path, encoding: str) -> None:
    path.write_text(f"{HEADER}\n1,no,*,2026-01-01,\n2,no,Züri,2026-01-01,", encoding=encoding)
    with pytest.raises(DataError, match="save the file as UTF-8") as caught:
        read_consents(path)
    assert f"line {3 if encoding == 'latin-1' else 1}" in str(caught.value)


def test_no_file_a_folder_another_kind_and_too_large(tmp_path: Path) -> None:
    for name in ("consent.csv", "consent.db"):
        with pytest.raises(DataError, match=r"No such file.*nobody's data is used"):
            read_consents(tmp_path / name)
        (tmp_path / f"folder-{name}").mkdir()
        with pytest.raises(DataError, match="cannot"):
            read_consents(tmp_path / f"folder-{name}")
    with pytest.raises(DataError, match=r"\.csv, \.db, \.sqlite"):
        read_consents(tmp_path / "consent.xlsx")
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(DataError, match="larger than"):
        read_consents(large)


GOOD = (1, "no", "*", "2026-01-01", None)
WRONG_ROWS = {
    "bytes": ((b"4711", "no", "*", "2026-01-01", None), "row 2 of table consent: a cell is"),
    "a float": ((4711.0, "no", "*", "2026-01-01", None), "write it as text"),
    "no id": ((None, "no", "*", "2026-01-01", None), "row 2 of table consent: the patient"),
    "a day": ((4711, "no", "*", 20260101, None), "from is no day"),
}


@pytest.mark.parametrize(("row", "message"), WRONG_ROWS.values(), ids=WRONG_ROWS.keys())
def test_a_malformed_row_is_refused(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    path = table(tmp_path / "consent.db", GOOD, row, columns=ALL_COLUMNS)
    with pytest.raises(DataError, match=message) as caught:
        read_consents(path)
    assert "4711" not in str(caught.value)


def test_other_tables_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "consent.db"
    path.write_bytes(b"no database, but long enough to look at: " * 20)
    with pytest.raises(DataError, match="cannot be read as SQLite"):
        read_consents(path)
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE another (patient)")
    with pytest.raises(DataError, match="table consent: no column patient"):
        read_consents(path)
    with pytest.raises(DataError, match="no column purpose, from, until"):
        read_consents(table(path, (1, "no")))


def test_text_that_is_not_utf8_in_a_table_is_refused_without_showing_it(tmp_path: Path) -> None:
    path = table(tmp_path / "consent.db", GOOD, columns=ALL_COLUMNS)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE consent SET patient = CAST(x'34373131ff' AS TEXT)")
    with pytest.raises(DataError, match="UTF-8") as caught:
        read_consents(path)
    assert "4711" not in str(caught.value)


def test_nothing_shows_an_id(path: Path) -> None:
    consents = listed(path, "4711,no,*,2026-01-01,")
    for thing in (consents, consents.statements, consents.statements[0]):
        assert "4711" not in repr(thing)
        assert "4711" not in str(thing)


days = st.integers(0, 20).map(lambda n: MAY + timedelta(days=n - 10))
statements = st.builds(
    lambda patient, said, purpose, first, length: Statement(
        patient, said, purpose, first, date.max if length is None else first + timedelta(length)
    ),
    st.integers(1, 6),
    st.sampled_from(["yes", "no"]),
    st.sampled_from(["*", "s", "t"]),
    days,
    st.none() | st.integers(0, 8),
)
lists = st.lists(statements, max_size=12).map(tuple)
EVERYBODY = np.arange(1, 7, dtype=np.int64)


@given(lists, days, st.sampled_from(["s", "t", "u"]))
def test_the_rules_hold_for_every_list(said: tuple[Statement, ...], day: date, study: str) -> None:
    consents = Consents(said)
    out = consents.allowed(EVERYBODY, mode="opt-out", study=study, today=day)
    into = consents.allowed(EVERYBODY, mode="opt-in", study=study, today=day)
    for place, patient in enumerate(EVERYBODY):
        words = {one.said for one in said if one.patient == patient and one.holds(study, day)}
        assert out[place] == ("no" not in words)
        assert into[place] == (words == {"yes"})
    assert consents.withdrawn(study=study, today=day) == int((~out).sum())


@given(lists, statements.filter(lambda one: one.said == "no"), days)
def test_one_more_no_never_lets_anybody_in(
    said: tuple[Statement, ...], no: Statement, day: date
) -> None:
    for mode in ("opt-out", "opt-in"):
        before = Consents(said).allowed(EVERYBODY, mode=mode, study="s", today=day)
        after = Consents((*said, no)).allowed(EVERYBODY, mode=mode, study="s", today=day)
        assert not (after & ~before).any()


@given(lists, days, days)
def test_who_left_was_there_and_is_not(said: tuple[Statement, ...], one: date, two: date) -> None:
    then, today = min(one, two), max(one, two)
    consents = Consents(said)
    left = consents.left_since(then, study="s", today=today)
    there = consents.allowed(EVERYBODY, mode="opt-out", study="s", today=then)
    gone = ~consents.allowed(EVERYBODY, mode="opt-out", study="s", today=today)
    assert int((there & gone).sum()) <= left <= int(gone.sum())
    assert consents.left_since(date.min, study="s", today=today) == int(gone.sum())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lists, st.permutations(COLUMNS))
def test_what_is_written_is_read(
    path: Path, said: tuple[Statement, ...], columns: list[str]
) -> None:
    text = StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for one in said:
        until = "" if one.last == date.max else one.last.isoformat()
        cells = (str(one.patient), one.said, one.purpose, one.first.isoformat(), until)
        writer.writerow(dict(zip(COLUMNS, cells, strict=True)))
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert read_consents(path).statements == said


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from('0179,\n"\r;* abnoyes-\x00\x85é'), max_size=60))
def test_any_line_is_read_or_refused(path: Path, text: str) -> None:
    path.write_text(f"{HEADER}\n4711,no,*,2026-01-01,\n{text}", encoding="utf-8", newline="")
    try:
        told = str(read_consents(path))
    except DataError as error:
        told = str(error)
    assert "4711" not in told
    assert len(told.splitlines()) == 1
