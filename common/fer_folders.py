"""The reader of FER-2013 as image files: ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``.

Class folders go by either of the two common spellings. Everything under train/ is Training; under
test/ an image called ``PrivateTest_*`` is PrivateTest and any other is PublicTest. A zip is read
in place: nothing is ever unpacked to disk, so no name in it can reach outside.
"""

import hashlib
import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fedward.common.errors import DataError
from fedward.common.faces import EMOTIONS, SIDE, SPLITS
from fedward.common.raw_faces import RawFace

SUFFIXES = (".jpg", ".jpeg", ".png")
LARGEST_FILE = 1 << 20  # bytes; a 48x48 image needs some 2,000
CLASSES = {name: code for code, name in enumerate(EMOTIONS)} | {
    "disgusted": EMOTIONS.index("disgust"),
    "fearful": EMOTIONS.index("fear"),
    "surprised": EMOTIONS.index("surprise"),
}
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what operating systems leave in folders
_UNREADABLE = (
    *(OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One file of a folder or zip.

    Attributes:
        name: relative, with slashes: ``train/happy/Training_1.jpg``.
        size: in bytes, uncompressed.
        modified_ns: when it was last changed; 0 in a zip.
        read: its first bytes, as many as asked for.
    """

    name: str
    size: int
    modified_ns: int
    read: Callable[[int], bytes]


def folder_members(folder: Path) -> list[Member]:
    """The files of train/<class>/ and test/<class>/, sorted by name.

    Raises:
        DataError: if there is neither a train/ nor a file in test/.
    """
    parts = {part.name.lower(): part for part in folder.iterdir() if part.is_dir()}
    members = [
        _file_member(file, f"{part}/{emotion.name}/{file.name}")
        for part in ("train", "test")
        if part in parts
        for emotion in _entries(parts[part])
        if emotion.is_dir()
        for file in _entries(emotion.path)
        if file.is_file()
    ]
    if "train" not in parts and not members:
        raise DataError(
            f"{folder}: has no folder train/ with a folder per emotion; {_near(folder)}"
        )
    return sorted(members, key=lambda member: member.name)


def _near(folder: Path) -> str:
    near = [*sorted(folder.glob("*/train")), *sorted(folder.glob("*fer2013*.csv*"))]
    if not near:
        return "name the folder that has one, a fer2013.csv or a zip"
    return f"name {near[0] if near[0].is_file() else near[0].parent}"


def _entries(folder: str | Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:  # a third of pathlib's time, for tens of thousands
        return [entry for entry in entries if not _is_litter([entry.name])]


def _file_member(file: "os.DirEntry[str]", name: str) -> Member:
    def read(limit: int) -> bytes:
        with Path(file.path).open("rb") as stream:
            return stream.read(limit)

    status = file.stat()
    return Member(name, status.st_size, status.st_mtime_ns, read)


def zip_members(archive: zipfile.ZipFile, source: str) -> list[Member]:
    """The files of train/<class>/ and test/<class>/ in a zip, wherever in it these lie.

    An empty list if the zip holds no such file.

    Raises:
        DataError: if train/ and test/ lie at several places, as of several data sets.
    """
    found = [(PurePosixPath(info.filename).parts, info) for info in archive.infolist()]
    images = [
        (parts, info)
        for parts, info in found
        if parts[-3:-2] and parts[-3].lower() in ("train", "test")
        if not info.is_dir() and not _is_litter(parts)
    ]
    places = sorted({"/".join(parts[:-3]) for parts, _ in images})
    if len(places) > 1:
        raise DataError(
            f"{source}: several data sets, in {places[0] or '/'!r} and {places[1]!r}; "
            "make a zip of one"
        )
    members = [
        Member(
            f"{parts[-3].lower()}/{parts[-2]}/{parts[-1]}",
            info.file_size,
            0,
            _zip_reader(archive, info),
        )
        for parts, info in images
    ]
    return sorted(members, key=lambda member: member.name)


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        with archive.open(info) as stream:
            return stream.read(limit)

    return read


def _is_litter(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in parts)


def members_sha256(members: Sequence[Member]) -> str:
    """Over names and contents in the order of names, so equal wherever the folder lies."""
    digest = hashlib.sha256()
    for member in members:
        content = member.read(LARGEST_FILE)
        digest.update(f"{member.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def read_members(members: Sequence[Member], source: str) -> Iterator[RawFace]:
    """Yield the faces of the files, in their order.

    Args:
        members: from ``folder_members`` or ``zip_members``.
        source: the folder's or zip's name for messages.

    Raises:
        DataError: for the first file that is not a 48x48 grey image of a known class.
    """
    for member in members:
        where = f"{source}, {member.name}"
        part, emotion, file = member.name.split("/")
        if emotion.lower() not in CLASSES:
            raise DataError(
                f"{where}: unknown class folder {emotion!r}; rename it to one of "
                f"{', '.join(EMOTIONS)}, or remove it"
            )
        yield RawFace(CLASSES[emotion.lower()], _split(part, file), _pixels(member, where))


def _split(part: str, file: str) -> int:
    if part == "train":
        return SPLITS.index("Training")
    private = file.lower().startswith("privatetest")
    return SPLITS.index("PrivateTest" if private else "PublicTest")


def _pixels(member: Member, where: str) -> bytes:
    if not member.name.lower().endswith(SUFFIXES):
        raise DataError(f"{where}: not a .jpg or .png image; remove it")
    if member.size > LARGEST_FILE:
        raise DataError(f"{where}: {member.size:,} bytes, too large for a face; remove it")
    try:
        content = member.read(LARGEST_FILE)
    except _DAMAGED_ZIP as error:
        raise DataError(f"{where}: cannot be read ({error}); copy or download it again") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _grey(content, where)
    except _UNREADABLE:
        raise DataError(
            f"{where}: damaged, or not an image; download the data set again, or remove the file"
        ) from None


def _grey(content: bytes, where: str) -> bytes:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
        if image.size != (SIDE, SIDE):
            width, height = image.size
            raise DataError(
                f"{where}: {width}x{height} pixels; crop to the face and scale to {SIDE}x{SIDE}"
            )
        if image.mode not in ("1", "L", "P", "RGB"):
            raise DataError(f"{where}: of colour mode {image.mode}; save it as 8-bit grey")
        if image.mode == "L":
            return image.tobytes()
        pixels = np.asarray(image.convert("RGB"))
    if (pixels != pixels[:, :, :1]).any():
        raise DataError(f"{where}: a colour image; convert the data set to grey")
    return pixels[:, :, 0].tobytes()
