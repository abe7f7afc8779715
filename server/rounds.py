"""A study from its first hello to its report. It reads like the protocol.

    introduce   every node says who it is
    rounds      order, fold, step, score, checkpoint
    finish      model, figures, report

The same code runs a simulation and a deployment. What only a simulator can know (who has what,
how each hospital scores) comes in through ``Chronicle``.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedward import __version__
from fedward.common.config import Study
from fedward.common.errors import FedwardError, RunError, StoppedError, UpdateError
from fedward.common.noise import plan_noise
from fedward.common.result import RoundPart, RoundSeconds
from fedward.common.wire import read_hello
from fedward.server.aggregate import ServerState
from fedward.server.evaluate import Evaluation, Examiner, initial_arrays
from fedward.server.measure import measure
from fedward.server.run_directory import RunDirectory
from fedward.server.strategy import FedAvg, Member, as_they_come, side_of


class Chronicle(Protocol):
    """Who wants to know how a run goes, and writes it down."""

    def began(self, members: Mapping[str, Member], rounds: list[RoundPart]) -> None:
        """All hospitals are known; ``rounds`` were finished before an interruption."""

    def round_done(self, rounds: list[RoundPart], state: ServerState) -> None:
        """One more round is checkpointed."""

    def ended(
        self,
        evaluation: Evaluation,
        rounds: list[RoundPart],
        state: ServerState,
        measured: Mapping[str, float | None],
    ) -> None:
        """The run is complete; ``evaluation`` is the released model's, ``measured`` what hospitals
        say of it (server/measure.py)."""


@dataclass(frozen=True)
class Surroundings:
    """What a run needs from where it runs.

    Attributes:
        poll_s: how often to look for nodes and replies.
        patience_s: how long to wait for all hospitals to be there, and to introduce themselves.
        stopped: whether somebody asked the run to stop.
        busy_s: seconds of [start, end] (clock values) in which some hospital was computing.
        clock: monotonic seconds.
    """

    poll_s: float
    patience_s: float
    stopped: Callable[[], bool]
    busy_s: Callable[[float, float], float]
    clock: Callable[[], float] = time.monotonic


def conduct(
    grid: Grid,
    study: Study,
    examiner: Examiner,
    directory: RunDirectory,
    chronicle: Chronicle,
    around: Surroundings,
) -> None:
    """Run the study to its end, from its checkpoint where there is one.

    Raises:
        RunError: when hospitals are missing, a round misses its quorum, the disk is full, or
            somebody stopped the run. What was finished is on disk.
        ModelError: when the checkpoint is of a model that reads other features.
    """
    members = introduce(grid, study, around)
    state, rounds = directory.read_checkpoint() or (
        ServerState(0, initial_arrays(study.training, study.seed)),
        [],
    )
    examiner.check(state.arrays)
    directory.rewrite_metrics(rounds)
    chronicle.began({m.hello.name: m for m in members.values()}, rounds)
    strategy = FedAvg(study, members, state, directory.name, around.clock)
    for number in range(state.round + 1, study.rounds.count + 1):
        part = play_round(number, strategy, grid, examiner, around)
        rounds.append(part)
        directory.write_checkpoint(strategy.state, rounds)
        directory.append_metrics(part)
        chronicle.round_done(rounds, strategy.state)

    def ask(messages: list[Message]) -> Iterator[Message]:
        return as_they_come(
            grid,
            messages,
            timeout_s=study.rounds.timeout_s,
            poll_s=around.poll_s,
            stopped=around.stopped,
            clock=around.clock,
        )

    measured = measure(study, members, strategy.state, ask, run=directory.name)
    evaluation = examiner.score(strategy.state.released())
    chronicle.ended(evaluation, rounds, strategy.state, measured)


def introduce(grid: Grid, study: Study, around: Surroundings) -> dict[int, Member]:
    """Ask every node who it is.

    Raises:
        RunError: when the roster is not what the study says, or versions differ.
    """
    nodes = _await_nodes(grid, study.hospitals.count, around)
    if len(nodes) != study.hospitals.count:
        raise RunError(
            f"the study has {study.hospitals.count} hospitals and Flower runs {len(nodes)} nodes: "
            f"set num-supernodes = {study.hospitals.count} in Flower's configuration, or "
            f"hospitals = {len(nodes)} in the run configuration"
        )
    questions = [
        Message(content=RecordDict(), message_type=MessageType.QUERY, dst_node_id=node)
        for node in nodes
    ]
    members: dict[int, Member] = {}
    for reply in as_they_come(
        grid,
        questions,
        timeout_s=around.patience_s,
        poll_s=around.poll_s,
        stopped=around.stopped,
        clock=around.clock,
    ):
        members[reply.metadata.src_node_id] = _member(study, reply)
    if len(members) < len(nodes):
        raise RunError(
            f"{len(nodes) - len(members)} hospitals did not introduce themselves in time"
        )
    if len({m.hello.name for m in members.values()}) < len(members):
        raise RunError("two hospitals have the same name")
    return members


def _await_nodes(grid: Grid, count: int, around: Surroundings) -> list[int]:
    """The nodes that are there once there are enough, or when patience ends."""
    deadline = around.clock() + around.patience_s
    while len(nodes := list(grid.get_node_ids())) < count and around.clock() < deadline:
        if around.stopped():
            raise StoppedError
        time.sleep(around.poll_s)
    return nodes


def _member(study: Study, reply: Message) -> Member:
    try:
        hello = read_hello(reply)
    except UpdateError as error:
        raise RunError(f"a hospital could not introduce itself: {error}") from None
    if hello.version != __version__:
        raise RunError(
            f"{hello.name} runs Fedward {hello.version}, the aggregator {__version__}: "
            "install the same version on both"
        )
    if hello.size < 1:
        raise RunError(f"{hello.name} states a size of {hello.size}; it must be at least 1")
    return Member(hello, plan_noise(study, hello.size))


def play_round(
    number: int, strategy: FedAvg, grid: Grid, examiner: Examiner, around: Surroundings
) -> RoundPart:
    """One round: orders out, updates folded in, one step, one score."""
    began = around.clock()
    orders = strategy.configure_train(number, ArrayRecord(), ConfigRecord(), grid)
    replies = as_they_come(
        grid,
        orders,
        timeout_s=strategy.study.rounds.timeout_s,
        poll_s=around.poll_s,
        stopped=around.stopped,
        clock=around.clock,
    )
    strategy.aggregate_train(number, replies)
    trained = around.clock()
    side = side_of(strategy.study, number)
    evaluation = examiner.score(strategy.state.released(), side)
    scored = around.clock()
    train_s = min(around.busy_s(began, trained), trained - began)
    outcome = strategy.outcome
    return RoundPart(
        round=number,
        accuracy=evaluation.test.accuracy,
        macro_f1=evaluation.test.macro_f1,
        loss=evaluation.loss,
        participants=outcome.participants,
        refused=outcome.refused,
        seconds=RoundSeconds(
            train=train_s,
            aggregate=outcome.aggregate_s,
            evaluate=scored - trained,
            engine=max(0.0, trained - began - train_s - outcome.aggregate_s),
        ),
    )


def reason_of(error: BaseException) -> str:
    """One line for result.json."""
    return str(error) if isinstance(error, FedwardError) else f"{type(error).__name__}: {error}"
