"""Where run directories go, who may write one, and what it takes to resume one."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fedward import __version__
from fedward.common.config import Study, parse_study
from fedward.common.errors import RunError
from fedward.server.run_directory import RunDirectory

RUNS_VARIABLE = "FEDWARD_RUNS"
LOCK = ".lock"


def default_folder(name: str) -> Path:
    """runs/<time>-<recipe>, under FEDWARD_RUNS or the working folder."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path(os.environ.get(RUNS_VARIABLE, "runs")) / f"{stamp}-{name}"


def claim_new(folder: Path) -> None:
    """Make a folder for a new run. Raises RunError when it holds one already, or cannot be made."""
    if RunDirectory(folder).config.exists():
        raise RunError(f"{folder} holds a run already: choose another --out, or --resume {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder}: {error.strerror}") from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory alone; one in which no run began is removed afterwards.

    Raises:
        RunError: when another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise RunError(f"cannot write in {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{folder} is being written by another process") from None
        try:
            yield
        finally:
            _discard_unbegun(folder)


def _discard_unbegun(folder: Path) -> None:
    """What fails before its configuration is written leaves nothing behind."""
    if RunDirectory(folder).config.exists():
        return
    for name in (LOCK, "flower.log", "hospitals.log"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it holds something of the user's
        folder.rmdir()


def check_same_data(folder: Path, sha256: str) -> None:
    """Raises RunError when the run in this folder was begun on other data."""
    try:
        config = json.loads(RunDirectory(folder).config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if config.get("data_sha256") != sha256:
        raise RunError(
            f"{folder} was begun on other data (sha256 {str(config.get('data_sha256'))[:12]}, now "
            f"{sha256[:12]}): restore the data, or begin a new run"
        )


def study_to_resume(folder: Path) -> Study:
    """The study of an interrupted run.

    Raises:
        RunError: when there is no run, it is finished, or another version began it.
    """
    directory = RunDirectory(folder)
    try:
        config = json.loads(directory.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder} holds no run: config.json is missing") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{directory.config} cannot be read: {error}") from None
    if config.get("fedward_version") != __version__:
        raise RunError(
            f"{folder} was begun by Fedward {config.get('fedward_version')}, this is {__version__}:"
            " its numbers might differ; begin it again"
        )
    return parse_study(config.get("study", {}))


def is_finished(folder: Path) -> bool:
    """Whether the run in this folder is complete."""
    result = RunDirectory(folder).read_result()
    return result is not None and result.status == "completed"
