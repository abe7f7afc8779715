"""Writing files that are whole or absent, whatever happens."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedward.common.errors import RunError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary neighbour of ``path`` that replaces it, synced, when the block succeeds.

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
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {cause(error)}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole. Raises RunError as ``writing`` does."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cause(error: OSError) -> str:
    """Why a file could not be written, with the cure where there is one."""
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space, then go on with `fedward simulate --resume`"
    return error.strerror or str(error)
