"""The reader of FER-2013's table, Kaggle's ``fer2013.csv``, plain or gzip, one row at a time.

The columns ``emotion`` (0 to 6), ``pixels`` (2,304 grey levels with spaces between) and ``Usage``
(Training, PublicTest, PrivateTest) may come in any order and beside others, so the challenge's
``icml_face_data.csv`` reads as well.

Source: Goodfellow et al. 2013, "Challenges in Representation Learning: A report on three machine
learning contests", https://www.kaggle.com/c/challenges-in-representation-learning-facial-
expression-recognition-challenge.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator
from typing import IO

from fedward.common.errors import DataError
from fedward.common.faces import EMOTIONS, SIDE, SPLITS
from fedward.common.raw_faces import RawFace

COLUMNS = ("emotion", "pixels", "usage")
LONGEST_LINE = 65_536  # bytes; a row needs about 8,500, and an endless line must not fill memory
GZIP_MAGIC = b"\x1f\x8b"

# Parsing is a look-up of the words that are allowed: as fast as converting, and checked throughout.
_GREY = {str(value): value for value in range(256)}
_EMOTION = {str(code): code for code in range(len(EMOTIONS))}
_SPLIT = {name.lower(): code for code, name in enumerate(SPLITS)}


def read_csv(stream: IO[bytes], source: str) -> Iterator[RawFace]:
    """Yield the faces of a table in its order; memory does not grow with its length.

    Args:
        stream: the bytes of the file, gzip or not; seekable.
        source: the file's name for messages.

    Raises:
        DataError: for the first row (the header is row 1) that is not as it should be, with what
            is wrong in it and the cure.
    """
    rows = csv.reader(_lines(_decompressed(stream)), skipinitialspace=True)
    try:
        columns = _columns(next(rows, None), source)
        for row in rows:
            if row:
                yield _face(row, columns, f"{source}, row {rows.line_num} (the header is row 1)")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{source}: damaged or truncated after row {rows.line_num} ({error}); "
            "copy or download it again"
        ) from None
    except csv.Error as error:
        raise DataError(
            f"{source}, row {rows.line_num}: not a row of a table ({error}); "
            "correct it, or download the file again"
        ) from None


def _decompressed(stream: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    magic = stream.read(len(GZIP_MAGIC))
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if magic == GZIP_MAGIC else stream


def _lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[str]:
    while line := stream.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise csv.Error(f"a line of more than {LONGEST_LINE:,} bytes")
        yield line.decode("utf-8-sig", errors="replace")


def _columns(header: list[str] | None, source: str) -> tuple[int, int, int]:
    if header is None:
        raise DataError(f"{source}: the file is empty; copy or download it again")
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if len(missing) == len(COLUMNS):
        raise DataError(
            f"{source}: not a FER-2013 table, its first row is not 'emotion,pixels,Usage'; "
            "give Kaggle's fer2013.csv (plain or .gz), or a folder or zip with train/ and test/"
        )
    if missing:
        raise DataError(
            f"{source}, row 1: the column {', '.join(missing).replace('usage', 'Usage')} is "
            "missing; the header is 'emotion,pixels,Usage'"
        )
    emotion, pixels, usage = (names.index(name) for name in COLUMNS)
    return emotion, pixels, usage


def _face(row: list[str], columns: tuple[int, int, int], where: str) -> RawFace:
    if len(row) <= max(columns):
        raise DataError(
            f"{where}: has {len(row)} columns, too few; correct or remove the row, "
            "or download the file again"
        )
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if emotion not in _EMOTION:
        raise DataError(
            f"{where}: emotion {_shown(emotion)} is not one of 0 to 6; correct or remove the row"
        )
    if usage.lower() not in _SPLIT:
        raise DataError(
            f"{where}: Usage {_shown(usage)} is not one of {', '.join(SPLITS)}; "
            "correct or remove the row"
        )
    return RawFace(_EMOTION[emotion], _SPLIT[usage.lower()], _grey_levels(pixels, where))


def _grey_levels(pixels: str, where: str) -> bytes:
    words = pixels.split()
    if len(words) != SIDE * SIDE:
        raise DataError(
            f"{where}: {len(words):,} grey levels, not {SIDE * SIDE:,} ({SIDE}x{SIDE}); "
            "correct or remove the row"
        )
    try:
        return bytes([_GREY[word] for word in words])
    except KeyError as error:
        word = str(error.args[0])
        raise DataError(
            f"{where}: grey level {words.index(word) + 1} is {_shown(word)}, not a whole number "
            "from 0 to 255; correct or remove the row"
        ) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
