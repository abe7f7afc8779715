"""Open a source of faces: read and curated once, then mapped from a checked cache.

A cache entry is a folder of ``images.npy``, ``labels.npy``, ``splits.npy`` and ``meta.json``. Its
faces are ordered so that each curated split is one slice, which every process maps read-only and
shares: first the faces that are used, Training, PublicTest and PrivateTest, then those left out.
An entry is written beside its place and renamed into it, so it is whole or absent; its checksums
are verified whenever it is opened, and what fails is rebuilt from the source.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from fedward.common.config import Frozen
from fedward.common.curate import Fate, fates, summary
from fedward.common.errors import DataError
from fedward.common.face_source import identity, read_source
from fedward.common.faces import EMOTIONS, SPLITS, Curation, FaceData, FaceSet
from fedward.common.files import sync, unwritable
from fedward.common.raw_faces import Progress, RawFaces

LAYOUT = 1  # of an entry and of the rules behind it; another number never reads this one's entries
_ARRAYS = ("images", "labels", "splits")
_UNFINISHED = ".unfinished-"
_ATTEMPTS = 2  # another process may replace the same damaged entry at the same moment
_ABANDONED_S = 86_400  # an unfinished entry so much older than a new one has lost its writer


class _Meta(Frozen):
    layout: int
    source: str
    sha256: str
    kept: tuple[int, int, int]
    curation: Curation
    checksums: dict[str, str]


@dataclass(frozen=True)
class StoredFaces:
    """A source as published, in the order of the cache.

    Attributes:
        sha256: of the source.
        faces: all of them, mapped read-only; those in use come first, by split.
        kept: how many of each split are in use, in the order of SPLITS.
        curation: what was left out.
    """

    sha256: str
    faces: RawFaces
    kept: tuple[int, int, int]
    curation: Curation


def open_faces(
    path: Path,
    *,
    cache: Path,
    progress: Progress | None = None,
    training_required: bool = True,
) -> FaceData:
    """Read, curate and cache a source, or open it from the cache.

    Args:
        path: ``fer2013.csv`` plain or gzip, a folder with train/ and test/, or a zip of these.
        cache: a folder for cache entries; made where missing.
        progress: told the fraction done while a source is read for the first time.
        training_required: False accepts a source of test images alone, to evaluate on.

    Returns:
        The curated faces, images mapped read-only. Nobody is named in FER-2013, so every image
        is a patient of its own.

    Raises:
        DataError: if the source cannot be used.
        RunError: if the cache cannot be written.
    """
    stored = open_stored(path, cache=cache, progress=progress)
    parts = _slices(stored)
    training = parts.pop("Training")
    _check_training(training, path, training_required)
    tests = {split: part for split, part in parts.items() if len(part)}
    return FaceData(path.resolve().name, stored.sha256, training, tests, stored.curation)


def open_stored(path: Path, *, cache: Path, progress: Progress | None = None) -> StoredFaces:
    """Open a source with everything in it, also what curation leaves out.

    Raises:
        DataError, RunError: as ``open_faces``.
    """
    key = identity(path)
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    entry = cache / f"{place}-{key[:16]}"
    for _ in range(_ATTEMPTS):
        if (stored := _open_entry(entry)) is not None:
            return stored
        faces, sha256 = read_source(path, progress)
        if identity(path) != key:
            raise DataError(f"{path}: changed while it was read; try again when it is complete")
        _write_entry(entry, path, faces, sha256)
    if (stored := _open_entry(entry)) is None:
        raise DataError(f"{entry}: a fresh cache entry cannot be read back; check the disk")
    return stored


def _slices(stored: StoredFaces) -> dict[str, FaceSet]:
    ends = np.cumsum(stored.kept)
    return {
        split: FaceSet(
            stored.faces.images[end - count : end],
            stored.faces.labels[end - count : end],
            np.arange(end - count, end, dtype=np.int64),
        )
        for split, count, end in zip(SPLITS, stored.kept, ends, strict=True)
    }


def _check_training(training: FaceSet, path: Path, required: bool) -> None:
    if not len(training):
        if required:
            raise DataError(
                f"{path}: holds no Training images (no train/ folder, no rows of Usage Training); "
                "it can only be evaluated on"
            )
        return
    counts = zip(EMOTIONS, training.label_counts(), strict=True)
    if missing := [name for name, count in counts if count == 0]:
        raise DataError(
            f"{path}: Training holds no image of {', '.join(missing)} once duplicates, conflicts "
            "and blanks are left out; add some"
        )


def _open_entry(entry: Path) -> StoredFaces | None:
    try:
        meta = _Meta.model_validate_json((entry / "meta.json").read_bytes())
        if meta.layout != LAYOUT or set(meta.checksums) != set(_ARRAYS):
            return None
        files = [entry / f"{name}.npy" for name in _ARRAYS]
        if any(_sha256(file) != meta.checksums[file.stem] for file in files):
            return None
        images, labels, splits = (np.load(f, mmap_mode="r", allow_pickle=False) for f in files)
    except (OSError, ValueError, EOFError, ValidationError):
        return None
    faces = RawFaces(np.asarray(images), np.array(labels), np.array(splits))
    return StoredFaces(meta.sha256, faces, meta.kept, meta.curation)


def _write_entry(entry: Path, path: Path, faces: RawFaces, sha256: str) -> None:
    fate = fates(faces)
    kept = np.bincount(faces.splits[fate == Fate.KEPT], minlength=len(SPLITS))
    ordered = faces.take(np.lexsort((faces.splits, fate != Fate.KEPT)))
    try:
        with _new_folder(entry) as folder:
            for name in _ARRAYS:
                np.save(folder / f"{name}.npy", getattr(ordered, name), allow_pickle=False)
            meta = _Meta(
                layout=LAYOUT,
                source=str(path),
                sha256=sha256,
                kept=(int(kept[0]), int(kept[1]), int(kept[2])),
                curation=summary(fate),
                checksums={name: _sha256(folder / f"{name}.npy") for name in _ARRAYS},
            )
            (folder / "meta.json").write_text(meta.model_dump_json(indent=2), encoding="utf-8")
            for file in folder.iterdir():
                sync(file)
    except OSError as error:
        size = ordered.images.nbytes / 1e6
        cure = f"free {size:.0f} MB there, or set FEDWARD_CACHE to another folder"
        raise unwritable(entry, error, cure) from None


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _new_folder(entry: Path) -> Iterator[Path]:
    """A folder to fill, which takes the entry's place if all goes well and vanishes if not."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=entry.parent))
    try:
        yield folder
        if _open_entry(entry) is None:
            _clear(entry)
        try:
            folder.rename(entry)
        except OSError:
            if not entry.exists():
                raise  # else another process was first, and its entry is as good
        _sweep(entry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear(entry: Path) -> None:
    """Remove a damaged entry in one step, so that nobody sees half of one."""
    aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=entry.parent))
    with suppress(FileNotFoundError):
        entry.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(entry: Path) -> None:
    """Remove entries of the same path's earlier content, and what killed writers left."""
    place = entry.name.split("-")[0]
    old = [other for other in entry.parent.glob(f"{place}-*") if other != entry]
    for folder in entry.parent.glob(f"{_UNFINISHED}*"):
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < entry.stat().st_mtime - _ABANDONED_S:
                old.append(folder)
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
