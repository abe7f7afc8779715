"""Fixed features kept on disk: extracted once, then mapped into memory.

A cache file is named after the SHA-256 of the images and the extractor's version, so that it can
never belong to other images. It is a plain .npy array followed by the SHA-256 of all before it:
a file that was cut short or damaged is noticed when it is opened, and made anew.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.common.features import FeatureKind
from fedward.common.files import writing

_DIGEST_BYTES = hashlib.sha256().digest_size
_BLOCK = 1024  # images extracted between two writes
_READ = 1 << 22  # bytes


def cached_features(
    kind: FeatureKind, images: NDArray[np.uint8], cache: Path | None
) -> NDArray[np.float32]:
    """Features of images (n, 48, 48), float32 (n, count), from the cache where they are there.

    With a cache the result is mapped copy-on-write: processes share its pages, and no write of a
    caller's can reach the file. Concurrent callers may extract the same images twice but always
    find a whole file. Without a cache the result is an ordinary array.

    Raises:
        DataError: the images have another shape or type.
        RunError: the cache folder cannot be written, e.g. because the disk is full.
    """
    if cache is None:
        return kind.extract(images)
    path = _place(kind, images, cache)
    if not _is_whole(path, _size(kind, len(images))):
        _write(kind, path, images)
    features: NDArray[np.float32] = np.load(path, mmap_mode="c", allow_pickle=False)
    return features


def cache_check(kind: FeatureKind, images: NDArray[np.uint8], cache: Path) -> Callable[[], bool]:
    """A function that tells whether the features are there, whole; the images are read only here.

    This process and those that it forks remember what was checked, as long as the file does not
    change. The function raises OSError when the file cannot be read.
    """
    path, size = _place(kind, images, cache), _size(kind, len(images))
    return lambda: _is_whole(path, size)


def _place(kind: FeatureKind, images: NDArray[np.uint8], cache: Path) -> Path:
    digest = hashlib.sha256(f"{kind.version} {images.dtype} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return cache / f"features-{digest.hexdigest()[:40]}.npy"


def _header(kind: FeatureKind, examples: int) -> bytes:
    """The .npy header of the array that holds the features of so many images."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({examples}, {kind.count}), }}"
    padded = text.ljust((-11 - len(text)) % 64 + len(text)) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


def _size(kind: FeatureKind, examples: int) -> int:
    return len(_header(kind, examples)) + 4 * examples * kind.count + _DIGEST_BYTES


def _is_whole(path: Path, size: int) -> bool:
    """Whether the file is there, has this length in bytes, and its digest agrees."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return status.st_size == size and _digest_agrees(path, size, status.st_ino, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _digest_agrees(path: Path, size: int, inode: int, modified_ns: int) -> bool:
    """Whether the file ends in the digest of the rest. A file that did not change is read once
    per process, not once per round."""
    digest = hashlib.sha256()
    left = size - _DIGEST_BYTES
    with path.open("rb") as file:
        while left:
            block = file.read(min(_READ, left))
            if not block:
                return False
            digest.update(block)
            left -= len(block)
        return file.read() == digest.digest()


def _write(kind: FeatureKind, path: Path, images: NDArray[np.uint8]) -> None:
    """Extract block by block, so that memory does not grow with the images."""
    megabytes = _size(kind, len(images)) / 1e6
    cure = f"free {megabytes:.0f} MB there, or set FEDWARD_CACHE to another folder"
    digest = hashlib.sha256()
    with writing(path, cure=cure) as temporary, temporary.open("wb") as file:
        for part in _parts(kind, images):
            file.write(part)
            digest.update(part)
        file.write(digest.digest())


def _parts(kind: FeatureKind, images: NDArray[np.uint8]) -> Iterator[bytes]:
    yield _header(kind, len(images))
    for start in range(0, len(images), _BLOCK):
        yield kind.extract(images[start : start + _BLOCK]).astype("<f4", copy=False).tobytes()
