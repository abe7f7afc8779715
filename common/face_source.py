"""Any source of faces on disk, told apart by its content: a table, a zip or a folder."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fedward.common.errors import DataError
from fedward.common.fer_csv import read_csv
from fedward.common.fer_folders import (
    folder_members,
    members_sha256,
    read_members,
    zip_members,
)
from fedward.common.raw_faces import Progress, RawFace, RawFaces, gather

KNOWN_TABLES = ("fer2013.csv", "icml_face_data.csv")
REPORT_EVERY = 256  # faces
_ACCEPTED = "give Kaggle's fer2013.csv (plain or .gz), or a folder or zip with train/ and test/"


def identity(path: Path) -> str:
    """What tells a source from its earlier self without reading it: path, sizes, times.

    Raises:
        DataError: if there is nothing to read at the path.
    """
    try:
        _check_exists(path)
        digest = hashlib.sha256(str(path.resolve()).encode())
        if path.is_dir():
            for member in folder_members(path):
                digest.update(f"\0{member.name}\0{member.size}\0{member.modified_ns}".encode())
        else:
            status = path.stat()
            digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}".encode())
    except OSError as error:
        raise _unreadable(path, error) from None
    return digest.hexdigest()


def read_source(path: Path, progress: Progress | None = None) -> tuple[RawFaces, str]:
    """Read all faces of a source.

    Returns:
        The faces, and the sha256 of the file, or of a folder's sorted names and contents.

    Raises:
        DataError: for the first thing that is wrong, in one line: where, what, the cure.
    """
    try:
        _check_exists(path)
        if path.is_dir():
            return _read_folder(path, progress)
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            is_zip = stream.read(2) == b"PK"
        return (_read_zip if is_zip else _read_table)(path, progress), sha256
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error)
    return DataError(f"{path}: cannot be read ({reason}); check the file and your rights to it")


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; {_ACCEPTED}")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path}: neither a file nor a folder; {_ACCEPTED}")


def _read_folder(path: Path, progress: Progress | None) -> tuple[RawFaces, str]:
    members = folder_members(path)
    faces = read_members(members, str(path))
    watched = _watch(faces, _counter(len(members)), progress)
    return gather(watched, str(path)), members_sha256(members)


def _read_table(path: Path, progress: Progress | None) -> RawFaces:
    size = path.stat().st_size
    with path.open("rb") as stream:
        faces = read_csv(stream, str(path))
        return gather(_watch(faces, lambda _: stream.tell() / max(size, 1), progress), str(path))


def _read_zip(path: Path, progress: Progress | None) -> RawFaces:
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path, progress)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{path}: a damaged, encrypted or unusual zip ({error}); download it again, or unpack "
            "it and name the folder"
        ) from None


def _read_archive(archive: zipfile.ZipFile, path: Path, progress: Progress | None) -> RawFaces:
    if members := zip_members(archive, str(path)):
        faces = read_members(members, str(path))
        return gather(_watch(faces, _counter(len(members)), progress), str(path))
    table = _table_in(archive, path)
    with archive.open(table) as stream:
        faces = read_csv(stream, f"{path}, {table.filename}")
        done = _counter(table.file_size // 8_400)  # bytes of a row, near enough for a bar
        return gather(_watch(faces, done, progress), str(path))


def _table_in(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    names = {
        info.filename.rsplit("/", 1)[-1].lower(): info
        for info in archive.infolist()
        if info.filename.lower().endswith(".csv") and "__MACOSX" not in info.filename
    }
    for known in KNOWN_TABLES:
        if known in names:
            return names[known]
    if len(names) != 1:
        raise DataError(
            f"{path}: the zip holds neither train/<class>/ images nor a fer2013.csv; {_ACCEPTED}"
        )
    return next(iter(names.values()))


def _counter(total: int) -> Callable[[int], float]:
    return lambda seen: min(seen / max(total, 1), 1.0)


def _watch(
    faces: Iterable[RawFace], done: Callable[[int], float], progress: Progress | None
) -> Iterator[RawFace]:
    for seen, face in enumerate(faces):
        if progress is not None and seen % REPORT_EVERY == 0:
            progress(done(seen))
        yield face
    if progress is not None:
        progress(1.0)
