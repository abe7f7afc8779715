"""What result.json says about time and about the end of a run."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedward.common.config import DataConfig, HospitalsConfig, Study
from fedward.common.errors import RunError
from fedward.common.metrics import score
from fedward.server.aggregate import ServerState
from fedward.server.evaluate import Evaluation
from fedward.server.run_directory import RunDirectory
from fedward.sims import pictures
from fedward.sims.chronicle import SimulationChronicle
from fedward.sims.sites import Consortium, consortium
from fedward.sims.stopwatch import Stopwatch


@pytest.fixture(scope="module")
def dealt() -> Consortium:
    data = DataConfig(synthetic_patients=30, synthetic_images_per_patient=2)
    return consortium(Study(name="x", data=data, hospitals=HospitalsConfig(count=2)))


def seconds_of_command(
    dealt: Consortium, folder: Path, *, began: float, data: tuple[float, float], rest: list[float]
) -> dict[str, float]:
    """What result.json says of a command when it has begun; ``rest`` are its other clock times."""
    reading, whole = iter(data), iter(rest)
    data_time = Stopwatch(lambda: next(reading))
    chronicle = SimulationChronicle(
        dealt,
        RunDirectory(folder),
        began,
        data_time,
        lambda part, count: None,
        clock=lambda: next(whole),
    )
    with data_time:
        pass
    chronicle.began({}, [])
    seconds: dict[str, float] = json.loads((folder / "result.json").read_text())["seconds"]
    return seconds


def test_hospitals_are_told_with_their_patients(dealt: Consortium, tmp_path: Path) -> None:
    seconds_of_command(dealt, tmp_path, began=0.0, data=(1.0, 2.0), rest=[3.0, 4.0])
    told = json.loads((tmp_path / "result.json").read_text())["hospitals"]
    assert sum(part["patients"] for part in told) == len(np.unique(dealt.data.training.patients))
    assert all(part["examples"] == 2 * part["patients"] for part in told)


def test_time_spent_on_data_is_no_part_of_the_startup(dealt: Consortium, tmp_path: Path) -> None:
    seconds = seconds_of_command(
        dealt, tmp_path, began=100.0, data=(101.0, 105.5), rest=[109.0, 110.0]
    )
    assert seconds["data"] == 4.5
    assert seconds["startup"] == 109.0 - 100.0 - 4.5
    assert seconds["total"] == 10.0


def test_a_resumed_run_counts_the_time_of_all_its_commands(
    dealt: Consortium, tmp_path: Path
) -> None:
    seconds_of_command(dealt, tmp_path, began=0.0, data=(1.0, 2.0), rest=[3.0, 4.0])
    seconds = seconds_of_command(dealt, tmp_path, began=0.0, data=(0.0, 0.5), rest=[5.0, 8.0])
    assert seconds["total"] == 4.0 + 8.0
    assert seconds["data"] == 1.0 + 0.5
    assert seconds["startup"] == (3.0 - 1.0) + (5.0 - 0.5)


def test_a_run_whose_report_cannot_be_written_is_not_completed(
    dealt: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RunError("the disk is full")

    labels = dealt.test.labels
    answers = np.eye(7, dtype=np.float32)[labels]
    evaluation = Evaluation(0.0, score("PublicTest", labels, labels), answers)
    directory = RunDirectory(tmp_path)
    chronicle = SimulationChronicle(dealt, directory, 0.0, Stopwatch(), lambda part, count: None)
    chronicle.began({}, [])
    chronicle.ended(evaluation, [], ServerState(0, {"weight": np.zeros(1, np.float32)}), {})
    monkeypatch.setattr(pictures, "draw", full)
    with pytest.raises(RunError):
        chronicle.completed()
    assert json.loads(directory.result.read_text())["status"] == "running"
    monkeypatch.undo()
    assert chronicle.completed().status == "completed"
    assert json.loads(directory.result.read_text())["status"] == "completed"
    assert directory.report.exists()
