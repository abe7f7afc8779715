"""The run directory survives what happens to it."""

from pathlib import Path

import numpy as np
import pytest

from fedward.common.errors import RunError
from fedward.common.result import RoundPart, RoundSeconds
from fedward.server.aggregate import ServerState
from fedward.server.run_directory import RunDirectory

PART = RoundPart(
    round=1,
    accuracy=0.5,
    macro_f1=0.25,
    loss=1.5,
    participants=["hospital-01"],
    refused=[],
    seconds=RoundSeconds(train=1, aggregate=0, evaluate=0, engine=0),
)


def state(average: bool) -> ServerState:
    arrays = {"a.b": np.arange(3, dtype=np.float32), "c": np.ones((2, 2), np.float32)}
    if not average:
        return ServerState(1, arrays)
    doubled = {name: array * 2 for name, array in arrays.items()}
    return ServerState(7, arrays, momentum=doubled, average=doubled, averaged=3)


@pytest.mark.parametrize("average", [False, True])
def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path, average: bool) -> None:
    directory = RunDirectory(tmp_path)
    assert directory.read_checkpoint() is None
    directory.write_checkpoint(state(average), [PART])
    read = directory.read_checkpoint()
    assert read is not None
    got, rounds = read
    want = state(average)
    assert rounds == [PART]
    assert (got.round, got.averaged) == (want.round, want.averaged)
    for ours, theirs in ((got.arrays, want.arrays), (got.momentum, want.momentum)):
        assert (ours is None) == (theirs is None)
        for name, array in (theirs or {}).items():
            assert ours is not None
            assert ours[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("length", [0, 5, 200])
def test_a_damaged_checkpoint_is_named_with_the_cure(tmp_path: Path, length: int) -> None:
    directory = RunDirectory(tmp_path)
    directory.write_checkpoint(state(True), [PART])
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors is damaged .*; remove it"):
        directory.read_checkpoint()


def test_metrics_grow_by_a_line_and_can_be_set_right(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.append_metrics(PART)
    with directory.metrics.open("a") as file:
        file.write('{"round": 2, "acc')
    directory.rewrite_metrics([PART])
    directory.append_metrics(PART)
    lines = directory.metrics.read_text().splitlines()
    assert [RoundPart.model_validate_json(line) for line in lines] == [PART, PART]
