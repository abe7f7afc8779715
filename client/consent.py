"""Whose data may be used: a hospital's list of patients who said yes or no, read at every round.

The list is a CSV file or a SQLite table with the columns patient, consent (yes or no), purpose (a
study's name, or * for all), from and until (days; until may be empty, and both are included). It
is read whole or not at all: whatever is not as it should be is an error, since a "no" that is read
past is a patient whose wish is not done. No message and no repr shows an id.
"""

import csv
import io
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedward.client.policy import NAME, ConsentMode
from fedward.common.errors import DataError

COLUMNS = ("patient", "consent", "purpose", "from", "until")
MOST_BYTES = 50_000_000
_HEADER = ",".join(COLUMNS)
_ID = re.compile(r"0|-?[1-9][0-9]{0,18}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_IDS = np.iinfo(np.int64)

Said = Literal["yes", "no"]
Rows = Iterator[tuple[str, Sequence[object]]]  # where it stands, and the cells in order of COLUMNS


@dataclass(frozen=True, slots=True, repr=False)
class Statement:
    """What one patient said: for which purpose, from which day to which, both included."""

    patient: int
    said: Said
    purpose: str
    first: date
    last: date

    def holds(self, study: str, day: date) -> bool:
        """Whether it is about this study and in force on this day."""
        return self.purpose in ("*", study) and self.first <= day <= self.last


@dataclass(frozen=True)
class Consents:
    """All that a hospital's patients said. A "no" in force wins over every "yes"."""

    statements: tuple[Statement, ...] = field(repr=False)

    def allowed(
        self, patients: NDArray[np.int64], *, mode: ConsentMode, study: str, today: date
    ) -> NDArray[np.bool_]:
        """Which rows of a hospital may be used.

        Args:
            patients: the patient's number of every row, int64 (n,).
            mode: "opt-out" uses all but those with a "no" in force, "opt-in" of these only those
                with a "yes" in force.
            study: whose purpose it is.
            today: the day (UTC) of the round.

        Returns:
            Booleans, shape (n,).
        """
        use = ~np.isin(patients, _array(self._who("no", study, today)))
        if mode == "opt-in":
            use &= np.isin(patients, _array(self._who("yes", study, today)))
        return use

    def withdrawn(self, *, study: str, today: date) -> int:
        """How many patients have a "no" in force, whether the hospital has data of them or not."""
        return len(self._who("no", study, today))

    def left_since(self, day: date, *, study: str, today: date) -> int:
        """How many patients have a "no" in force today, but had none on ``day`` that had begun
        before: what was released on that day may have used their data.

        A "no" that began on the very day counts, since the round may have come first. This is the
        most that it can be: the hospital need not have had data of all of them.
        """
        before = {
            one.patient
            for one in self.statements
            if one.said == "no" and one.first < day and one.holds(study, day)
        }
        return len(self._who("no", study, today) - before)

    def _who(self, said: Said, study: str, day: date) -> set[int]:
        chosen = (one for one in self.statements if one.said == said)
        return {one.patient for one in chosen if one.holds(study, day)}


def read_consents(path: Path) -> Consents:
    """The consents in a CSV file (.csv), or in the table ``consent`` of a SQLite file (.db,
    .sqlite), which is opened for reading alone.

    Raises:
        DataError: there is no such file, or anything in it is not as it should be; in one line
            with the file, the line and the cure, and never an id.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: consents are read from {', '.join(_READERS)}: name such a file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is larger than {MOST_BYTES:,} bytes: this is no consent list")
        return Consents(tuple(_statement(cells, where) for where, cells in reader(path)))
    except OSError as error:
        raise DataError(
            f"cannot read the consents {path} ({error.strerror}): nobody's data is used without"
        ) from None
    except (sqlite3.Error, UnicodeError):  # whose texts may hold an id
        raise DataError(
            f"{path} cannot be read as SQLite with a table `consent` in UTF-8: correct or unlock it"
        ) from None


def _csv_rows(path: Path) -> Rows:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not UTF-8: save the file as UTF-8") from None
    rows = csv.reader(lines, strict=True)
    try:
        order = _order(next(rows, []), f"{path}, line 1")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if row and len(row) != len(COLUMNS):
                raise DataError(f"{where}: {len(row)} cells, not {len(COLUMNS)}: correct the line")
            if row:
                yield where, [row[place] for place in order]
    except csv.Error:
        raise DataError(
            f"{path}, line {rows.line_num}: not a row of a table: close its quotation marks"
        ) from None


def _table_rows(path: Path) -> Rows:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        connection.execute("PRAGMA query_only = ON")
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(consent)")]
        _order(names, f"{path}, table consent")
        wanted = ", ".join(f'"{name}"' for name in COLUMNS)
        found = connection.execute(f"SELECT {wanted} FROM consent")
        for number, cells in enumerate(found, 1):
            yield f"{path}, row {number} of table consent", cells


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".csv": _csv_rows,
    ".db": _table_rows,
    ".sqlite": _table_rows,
}


def _order(names: Sequence[str], where: str) -> list[int]:
    """Where every column is. A header is not shown: without one, an id would stand there."""
    known = [name.strip().lower() for name in names]
    if missing := [name for name in COLUMNS if name not in known]:
        raise DataError(
            f"{where}: no column {', '.join(missing)}: write {_HEADER} (a CSV file has commas)"
        )
    if len(known) > len(COLUMNS):
        raise DataError(f"{where}: more columns than {_HEADER}: remove the others")
    return [known.index(name) for name in COLUMNS]


def _statement(cells: Sequence[object], where: str) -> Statement:
    patient, said, purpose, first, last = (_text(cell, where) for cell in cells)
    if not _ID.fullmatch(patient) or not _IDS.min <= int(patient) <= _IDS.max:
        raise DataError(
            f"{where}: the patient is no number as the hospital's images have it, so nobody would "
            "match: write a whole number without leading zeros"
        )
    if said.lower() not in ("yes", "no"):
        raise DataError(f"{where}: consent is neither yes nor no: write one of them")
    if purpose != "*" and not re.fullmatch(NAME, purpose, re.ASCII):
        raise DataError(f"{where}: purpose is no study's name: write one, or * for all studies")
    begins = _day(first, "from", where)
    ends = _day(last, "until", where) if last else date.max
    if ends < begins:
        raise DataError(f"{where}: until is before from: exchange them")
    return Statement(int(patient), "no" if said.lower() == "no" else "yes", purpose, begins, ends)


def _text(cell: object, where: str) -> str:
    """A cell as text without spaces around it; a table may hold whole numbers and NULL too."""
    if cell is None:
        return ""
    if isinstance(cell, str | int):
        return str(cell).strip()
    raise DataError(f"{where}: a cell is neither text nor a whole number: write it as text")


def _day(text: str, column: str, where: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise DataError(f"{where}: {column} is no day: write it as 2026-05-04")


def _array(patients: set[int]) -> NDArray[np.int64]:
    return np.fromiter(patients, np.int64, len(patients))
