"""Writing files that are whole or absent, whatever happens."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward.common.errors import RunError

RESUME = "free some space, then go on with `fedward simulate --resume`"
_FULL = (errno.ENOSPC, errno.EDQUOT, None)  # None: numpy's, when only part of an array was written


@contextmanager
def writing(path: Path, *, cure: str = RESUME) -> Iterator[Path]:
    """A temporary neighbour of ``path`` that replaces it, synced, when the block succeeds.

    ``cure`` says what to do when the disk is full.

    Raises:
        RunError: when the disk is full or the folder cannot be written; ``path`` is as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error, cure) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole. Raises RunError as ``writing`` does."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes, *, cure: str = RESUME) -> None:
    """Write any file whole. Raises RunError as ``writing`` does."""
    with writing(path, cure=cure) as temporary:
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file is on the disk. Raises OSError when it cannot be."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def unwritable(path: Path, error: OSError, cure: str = RESUME) -> RunError:
    """Why a file could not be written, with the cure where the disk is full."""
    if error.errno in _FULL:
        return RunError(f"cannot write {path}: the disk is full; {cure}")
    return RunError(f"cannot write {path}: {error.strerror}")
