"""The runs behind a table of accuracies or a search: `fedward simulate`, each its own process.

What is finished is not run again, what was interrupted is resumed, and nothing is taken for what it
is not: a run of another study in the same folder is refused.
"""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fedward.common.config import DataConfig, Study
from fedward.common.errors import ConfigError, RunError, StoppedError
from fedward.common.result import Result, TestPart
from fedward.server.run_directory import RunDirectory
from fedward.sims.folders import is_finished, study_to_resume

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NAMED = 3  # so many differences between two studies are told
AGAIN = "free some space, then give the same command again"
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Planned:
    """A run to be made.

    Attributes:
        what: for people, such as "fer-private-8, seed 0".
        study: what to run.
        folder: its run directory, finished, begun or new.
    """

    what: str
    study: Study
    folder: Path


@dataclass(frozen=True)
class Measured:
    """What a finished run says of its study.

    Attributes:
        study: what was run.
        test: scores of the released model.
        seconds: wall-clock time of the run.
    """

    study: Study
    test: TestPart
    seconds: float


@dataclass
class StopRequests:
    """How often the user has asked to stop."""

    count: int = 0


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Count Ctrl-C, SIGTERM and SIGHUP instead of ending at them; what was ignored stays so."""
    requests = StopRequests()

    def ask(number: int, frame: FrameType | None) -> None:
        requests.count += 1

    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_all(runs: Sequence[Planned], *, tell: Tell, quiet: bool) -> None:
    """Make every run that is not finished yet, one after the other.

    Args:
        runs: what to run.
        tell: hears which run begins, its number and how many there are.
        quiet: runs show no progress of their own.

    Raises:
        RunError: when a run fails, or a folder holds one of another study.
        StoppedError: when the user asked to stop. What is finished stays, in both cases.
    """
    done = [done_already(run.study, run.folder) for run in runs]
    with stop_requests() as requests:
        for number, run in enumerate(runs):
            what = f"{run.what}, finished before" if done[number] else run.what
            tell(what, number, len(runs))
            if not done[number]:
                finish(run.study, run.folder, requests, quiet=quiet)


def from_anywhere(source: str) -> str:
    """A study's source by a path that holds in every folder: a run may be resumed from another."""
    return source if source == DataConfig().source else str(Path(source).absolute())


def done_already(study: Study, folder: Path) -> bool:
    """Whether this folder holds the study's finished run.

    Raises:
        RunError: when it holds a run of another study, or of another version of Fedward.
    """
    if not RunDirectory(folder).config.exists():
        return False
    try:
        there = study_to_resume(folder)
    except ConfigError as error:
        raise _refused(folder, str(error)) from None
    if different := _differences(there, study):
        raise _refused(folder, "; ".join(different[:NAMED]))
    return is_finished(folder)


def finish(study: Study, folder: Path, requests: StopRequests, *, quiet: bool) -> None:
    """Begin or resume the study's run in a process of its own, and wait for it.

    Raises:
        RunError: when it fails. What it has done stays.
        StoppedError: when the user asked to stop.
    """
    if requests.count:
        raise StoppedError
    with tempfile.TemporaryDirectory() as place:
        if RunDirectory(folder).config.exists():
            arguments = ["--resume", str(folder)]
        else:
            document = Path(place) / "study.json"
            document.write_text(study.model_dump_json(), encoding="utf-8")
            arguments = ["--config", str(document), "--out", str(folder)]
        code = simulate_in_process([*arguments, *(["--quiet"] if quiet else [])], requests)
    if code == 0:
        return
    if requests.count:
        raise StoppedError
    why = "its error is above" if code > 0 else f"it was ended by signal {-code}"
    raise RunError(f"{folder} did not finish, {why}: the same command goes on once that is cured")


def simulate_in_process(arguments: Sequence[str], requests: StopRequests) -> int:
    """Exit code of `fedward simulate`; its progress and errors go where this process's go."""
    command = [sys.executable, "-m", "fedward.sims.cli", "simulate", *arguments]
    # A session of its own: a terminal would send Ctrl-C to both, and two of them end it rudely.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        return await_process(process, requests)


def await_process(process: subprocess.Popen[bytes], requests: StopRequests) -> int:
    """Wait for a process and hand it every request to stop; returns its exit code."""
    handed_on = 0
    while True:
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if requests.count > handed_on:
                handed_on += 1
                process.send_signal(signal.SIGINT)


def read_measured(study: Study, folder: Path) -> Measured:
    """The scores of a finished run. Raises RunError when they cannot be read."""
    result, test = read_scored(folder)
    return Measured(study, test, result.seconds.total)


def read_scored(folder: Path) -> tuple[Result, TestPart]:
    """A finished run's result and its scores. Raises RunError when they cannot be read."""
    result = RunDirectory(folder).read_result()
    if result is None or result.test is None:
        raise RunError(f"{folder}/result.json has no scores: remove {folder} to run it again")
    return result, result.test


def _refused(folder: Path, why: str) -> RunError:
    return RunError(
        f"{folder} holds the run of another study ({why}): remove it, or choose another --out"
    )


def _differences(there: Study, here: Study) -> list[str]:
    old, new = _values(there), _values(here)
    return [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in old | new
        if old.get(key) != new.get(key)
    ]


def _values(study: Study) -> dict[str, object]:
    """All values of a study by their dotted names; a path as what it leads to from here."""
    values: dict[str, object] = {}
    for key, value in study.model_dump().items():
        if isinstance(value, dict):
            values |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            values[key] = value
    if study.data.source != DataConfig().source:
        values["data.source"] = str(Path(study.data.source).resolve())
    return values
