"""Rounds from hello to the end, with faults injected into replies."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message

from fedward.client.app import client_app
from fedward.client.site import Site
from fedward.common.config import HospitalsConfig, RoundsConfig, Study, TrainingConfig
from fedward.common.errors import ModelError, RunError
from fedward.common.faces import FaceSet
from fedward.common.result import RoundPart
from fedward.server.aggregate import ServerState
from fedward.server.evaluate import Evaluation, Examiner
from fedward.server.rounds import Surroundings, conduct
from fedward.server.run_directory import RunDirectory
from fedward.server.strategy import Member

sys.path.insert(0, str(Path(__file__).parent))
from in_process_grid import Fault, InProcessGrid

HOSPITALS = 3


def faces(seed: int, count: int = 24) -> FaceSet:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 48, 48)).astype(np.uint8)
    return FaceSet(images, np.arange(count) % 7, np.arange(count))


def open_site(context: Context) -> Site:
    index = context.node_config["partition-id"]
    assert isinstance(index, int)
    return Site(f"hospital-{index + 1}", 24, faces(index), None, randomness="seeded")


def study(rounds: int = 2, quorum: float = 0.5) -> Study:
    return Study(
        name="tiny",
        hospitals=HospitalsConfig(count=HOSPITALS),
        training=TrainingConfig(model="lstm", batch_size=12, learning_rate=1e-2),
        rounds=RoundsConfig(count=rounds, quorum=quorum, timeout_s=0.3),
    )


class Listener:
    """A Chronicle that remembers."""

    def __init__(self) -> None:
        self.rounds: list[RoundPart] = []
        self.state: ServerState | None = None
        self.evaluation: Evaluation | None = None

    def began(self, members: Mapping[str, Member], rounds: list[RoundPart]) -> None:
        self.members = members

    def round_done(self, rounds: list[RoundPart], state: ServerState) -> None:
        self.rounds = list(rounds)

    def ended(
        self,
        evaluation: Evaluation,
        rounds: list[RoundPart],
        state: ServerState,
        measured: Mapping[str, float | None],
    ) -> None:
        self.evaluation, self.rounds, self.state = evaluation, rounds, state
        self.measured = measured


def play(folder: Path, plan: Study, faults: dict[int, Fault] | None = None) -> Listener:
    listener = Listener()
    grid = InProcessGrid(client_app(open_site), HOSPITALS, faults)
    examiner = Examiner("lstm", "PublicTest", faces(99), None)
    around = Surroundings(0.01, 0.5, lambda: False, lambda start, end: end - start)
    conduct(grid, plan, examiner, RunDirectory(folder), listener, around)
    return listener


def in_rounds(change: Fault) -> Fault:
    """A fault of updates alone: hellos pass."""
    return lambda node, reply: change(node, reply) if "difference" in reply.content else reply


def poisoned(value: float) -> Fault:
    def change(node: int, reply: Message) -> Message:
        record = reply.content["difference"]
        assert isinstance(record, ArrayRecord)
        name = next(iter(record))
        record[name] = Array(np.full_like(record[name].numpy(), value))
        return reply

    return in_rounds(change)


def reshaped(node: int, reply: Message) -> Message:
    record = reply.content["difference"]
    assert isinstance(record, ArrayRecord)
    record[next(iter(record))] = Array(np.zeros((2, 2), np.float32))
    return reply


def without_arrays(node: int, reply: Message) -> Message:
    del reply.content["difference"]
    return reply


def test_a_clean_run_counts_everybody(tmp_path: Path) -> None:
    heard = play(tmp_path, study())
    assert [part.participants for part in heard.rounds] == [
        ["hospital-1", "hospital-2", "hospital-3"]
    ] * 2
    assert heard.evaluation is not None
    assert 0 <= heard.evaluation.test.accuracy <= 1
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (poisoned(float("nan")), "NaN or infinity"),
        (poisoned(float("inf")), "NaN or infinity"),
        (poisoned(1e30), "or more"),
        (in_rounds(reshaped), "shape"),
        (in_rounds(without_arrays), "no arrays"),
    ],
)
def test_a_bad_reply_is_refused_by_name_and_the_round_goes_on(
    tmp_path: Path, fault: Fault, reason: str
) -> None:
    heard = play(tmp_path, study(rounds=1), {2: fault})
    part = heard.rounds[0]
    assert part.participants == ["hospital-1", "hospital-3"]
    assert [refusal.hospital for refusal in part.refused] == ["hospital-2"]
    assert reason in part.refused[0].reason
    assert heard.state is not None
    assert all(np.isfinite(array).all() for array in heard.state.arrays.values())


def test_a_hospital_that_raises_tells_nothing(tmp_path: Path) -> None:
    calls = {"n": 0}

    def failing(context: Context) -> Site:
        if context.node_config["partition-id"] == 1:
            calls["n"] += 1
            if calls["n"] > 1:  # the hello passes
                raise ValueError("/data/patient-4711.png")
        return open_site(context)

    listener = Listener()
    around = Surroundings(0.01, 0.5, lambda: False, lambda start, end: end - start)
    conduct(
        InProcessGrid(client_app(failing), HOSPITALS),
        study(rounds=1),
        Examiner("lstm", "PublicTest", faces(99), None),
        RunDirectory(tmp_path),
        listener,
        around,
    )
    refusal = listener.rounds[0].refused[0]
    assert refusal.hospital == "hospital-2"
    assert refusal.reason == "the hospital failed: its own log says why"
    assert not refusal.by_hospital


def test_too_few_good_updates_fail_the_run_with_reasons(tmp_path: Path) -> None:
    everybody = {node: poisoned(float("nan")) for node in (1, 2, 3)}
    with pytest.raises(RunError, match=r"0 of 3 hospitals.*hospital-\d: .*NaN"):
        play(tmp_path, study(), everybody)


def test_a_missing_reply_counts_as_refused_after_the_timeout(tmp_path: Path) -> None:
    def silent(node: int, reply: Message) -> Message | None:
        return None if "difference" in reply.content else reply

    heard = play(tmp_path, study(rounds=1), {3: silent})  # type: ignore[dict-item]
    assert heard.rounds[0].refused[0].reason == "no reply in time"


def test_a_wrong_number_of_nodes_names_the_cure(tmp_path: Path) -> None:
    plan = study().model_copy(update={"hospitals": HospitalsConfig(count=5)})
    with pytest.raises(RunError, match="num-supernodes = 5"):
        play(tmp_path, plan)


def test_a_checkpoint_of_another_model_is_refused_before_any_order(tmp_path: Path) -> None:
    foreign = ServerState(1, {"needs_vgg16_weights_0": np.zeros(1, np.float32)})
    RunDirectory(tmp_path).write_checkpoint(foreign, [])
    with pytest.raises(ModelError, match="'needs_vgg16_weights_0' is there instead"):
        play(tmp_path, study())
    assert not (tmp_path / "metrics.jsonl").exists()


def test_resuming_after_any_round_gives_the_same_bits(tmp_path: Path) -> None:
    whole = play(tmp_path / "whole", study(rounds=4))

    class PulledPlugError(Exception):
        pass

    class Unplugged(Listener):
        def round_done(self, rounds: list[RoundPart], state: ServerState) -> None:
            if len(rounds) == 2:
                raise PulledPlugError

    around = Surroundings(0.01, 0.5, lambda: False, lambda start, end: end - start)
    directory = RunDirectory(tmp_path / "cut")
    examiner = Examiner("lstm", "PublicTest", faces(99), None)
    grid = InProcessGrid(client_app(open_site), HOSPITALS)
    with pytest.raises(PulledPlugError):
        conduct(grid, study(rounds=4), examiner, directory, Unplugged(), around)
    with directory.metrics.open("a") as file:
        file.write('{"round": 3, "accu')  # a torn line
    resumed = play(tmp_path / "cut", study(rounds=4))
    assert [part.round for part in resumed.rounds] == [1, 2, 3, 4]
    assert whole.state is not None
    assert resumed.state is not None
    for name, array in whole.state.arrays.items():
        assert array.tobytes() == resumed.state.arrays[name].tobytes()
    assert len(directory.metrics.read_text().splitlines()) == 4
