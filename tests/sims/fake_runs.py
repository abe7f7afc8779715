"""Runs that nobody made: what `fedward simulate` leaves, written in no time."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward import __version__
from fedward.common.config import Study
from fedward.common.metrics import score
from fedward.common.result import HospitalPart, RoundPart
from fedward.server.run_directory import RunDirectory, write_json
from fedward.sims import accuracy_runs
from fedward.sims.accuracy_runs import StopRequests

sys.path.insert(0, str(Path(__file__).parent))
from conftest import made_result

FACES = 20


def answers(right: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels of the test faces, and what a model says that is right for so many."""
    labels = np.arange(FACES) % 7
    return labels, np.where(np.arange(FACES) < right, labels, (labels + 1) % 7)


def write_result(
    made: Study,
    folder: Path,
    *,
    accuracy: float,
    split: str = "PublicTest",
    status: str = "completed",
    hospitals: Sequence[HospitalPart] = (),
    rounds: Sequence[RoundPart] = (),
    sha256: str = "0",
) -> None:
    """What a run of 20 test faces leaves."""
    test = score(split, *answers(round(FACES * accuracy))) if status == "completed" else None
    result = made_result(status, seed=made.seed, test=test, total=100.0 + made.seed)
    data = result.data.model_copy(update={"sha256": sha256, "test": FACES})
    parts = {"hospitals": list(hospitals), "rounds": list(rounds), "data": data}
    result = result.model_copy(update=parts)
    directory = RunDirectory(folder)
    directory.write_result(result)
    config = {"fedward_version": __version__, "study": made.model_dump(mode="json")}
    write_json(directory.config, config)


class FakeSimulate:
    """Stands in for `fedward simulate`: notes what it is asked for, and leaves a finished run."""

    def __init__(self, write: Callable[[Study, Path], None]) -> None:
        self.write = write
        self.asked: list[list[str]] = []
        self.code = 0
        self.before: Callable[[StopRequests], None] = lambda requests: None

    def __call__(self, arguments: Sequence[str], requests: StopRequests) -> int:
        self.before(requests)
        named = dict(zip(arguments[::2], arguments[1::2], strict=False))
        self.asked.append([key for key in arguments if key.startswith("--")])
        if self.code:
            return self.code
        if "--resume" in named:
            folder = Path(named["--resume"])
            made = accuracy_runs.study_to_resume(folder)
        else:
            folder = Path(named["--out"])
            made = Study.model_validate_json(Path(named["--config"]).read_bytes())
        self.write(made, folder)
        return 0
