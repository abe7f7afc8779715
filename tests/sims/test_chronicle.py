"""What result.json says about time."""

import json
from pathlib import Path

import pytest

from fedward.common.config import DataConfig, HospitalsConfig, Study
from fedward.server.run_directory import RunDirectory
from fedward.sims.chronicle import SimulationChronicle
from fedward.sims.sites import Consortium, consortium
from fedward.sims.stopwatch import Stopwatch


@pytest.fixture(scope="module")
def dealt() -> Consortium:
    data = DataConfig(synthetic_patients=30, synthetic_images_per_patient=2)
    return consortium(Study(name="x", data=data, hospitals=HospitalsConfig(count=2)))


def test_time_spent_on_data_is_no_part_of_the_startup(dealt: Consortium, tmp_path: Path) -> None:
    reading, whole = iter([101.0, 105.5]), iter([109.0, 110.0])
    data_time = Stopwatch(lambda: next(reading))
    chronicle = SimulationChronicle(
        dealt,
        RunDirectory(tmp_path),
        100.0,
        data_time,
        lambda part, count: None,
        clock=lambda: next(whole),
    )
    with data_time:
        pass
    chronicle.began({}, [])
    seconds = json.loads((tmp_path / "result.json").read_text())["seconds"]
    assert seconds["data"] == 4.5
    assert seconds["startup"] == 109.0 - 100.0 - 4.5
    assert seconds["total"] == 10.0
