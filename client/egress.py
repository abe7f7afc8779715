"""The list of everything that left a hospital: one JSON line each, appended and never changed.

What private data went into has its proof in the ledger, which is signed; this list has the rest
too, so that whoever watches the network can account for every byte of a reply's content.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from fedward.client.ledger_entries import Hex, Time, timestamp
from fedward.common.config import Frozen
from fedward.common.errors import DataError
from fedward.common.files import unwritable

PUBLIC = "none: public values alone"
Kind = Literal["hello", "update", "refusal", "failure"]
AGAIN = "none: the same bytes as before, sent again"


class Departure(Frozen):
    """One reply.

    Attributes:
        time: to the second, as everything that is told of time.
        kind: what it was.
        study, run, round: of the order; empty and 0 where there was none.
        size, sha256: of the reply's content, serialised as Flower does.
        mechanism: by which its private values were released.
    """

    time: Time
    kind: Kind
    study: str = ""
    run: str = ""
    round: int = 0
    size: Annotated[int, Field(ge=0)]
    sha256: Hex
    mechanism: str


def note(path: Path, departure: Departure) -> None:
    """Append a line. Raises RunError when it cannot be written; then nothing may leave."""
    line = departure.model_dump_json().encode() + b"\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
    except OSError as error:
        raise unwritable(path, error, "free some space") from None


def read_departures(path: Path) -> Iterator[Departure]:
    """All lines, the first one first.

    Raises:
        DataError: there is no such list, or a line is none that Fedward writes; with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(f"cannot read the egress log {path}: name the hospital's own") from None
    for number, line in enumerate(lines, 1):
        try:
            yield Departure.model_validate_json(line)
        except ValidationError:
            raise DataError(
                f"{path}, line {number} is none that Fedward writes: the log was changed"
            ) from None


def departure(kind: Kind, *, now: datetime, size: int, sha256: str) -> Departure:
    """A line about public values that leave now."""
    return Departure(time=timestamp(now), kind=kind, size=size, sha256=sha256, mechanism=PUBLIC)
