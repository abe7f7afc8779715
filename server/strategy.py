"""Federated averaging as a Flower Strategy: thin, over the pure functions of server/aggregate.py.

The round in order: choose a cohort, send it orders, fold every reply into the mean as it comes
(never holding them all), refuse bad replies by name, take one server step. Flower's own ``start``
waits for all replies and keeps no checkpoint, so the loop over rounds is ours: server/rounds.py.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedward.common.arrays import Arrays
from fedward.common.config import Study
from fedward.common.errors import RefusedError, RunError, StoppedError, UpdateError
from fedward.common.faces import SIDE
from fedward.common.messages import Hello, Order, Task
from fedward.common.models import is_linear
from fedward.common.noise import NoisePlan
from fedward.common.result import Refusal
from fedward.common.seeds import numpy_generator
from fedward.common.wire import pack_orders, read_update
from fedward.server.aggregate import (
    ExactMean,
    ServerState,
    adopt,
    fold_average,
    scheduled,
    step,
    warmed,
)

LOW_SIDE = 36


@dataclass(frozen=True)
class Member:
    """A hospital as the aggregator knows it."""

    hello: Hello
    noise: NoisePlan | None


@dataclass
class Outcome:
    """What became of a round's cohort. ``aggregate_s`` is the time spent folding, in seconds."""

    participants: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    aggregate_s: float = 0.0


class FedAvg(Strategy):
    """FedAvg for a fixed roster of hospitals.

    Args:
        study: what is trained, and how.
        members: the roster, by Flower node.
        state: where to begin; afterwards the state after the last finished round.
        run: a name of this run, the same when it is resumed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        study: Study,
        members: Mapping[int, Member],
        state: ServerState,
        run: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study = study
        self._run = run
        self.members = members
        self.state = state
        self.outcome = Outcome()
        self._clock = clock
        self._cohort: list[int] = []

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Orders for this round's cohort, the largest hospital first so that none is waited for.

        ``arrays`` and ``config`` are not read: the state and the study hold everything.
        """
        self._cohort = choose_cohort(self.study, self.members, server_round)
        orders = {
            node: order_for(self.study, self.state, self.members[node], server_round, run=self._run)
            for node in self._cohort
        }
        return [
            Message(
                content=content,
                message_type=MessageType.TRAIN,
                dst_node_id=node,
                group_id=str(server_round),
            )
            for node, content in pack_orders(orders).items()
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Fold replies as they come and take the server step; ``state`` and ``outcome`` follow.

        Raises:
            RunError: when fewer good updates came than the quorum.
        """
        sizes = [self.members[node].hello.size for node in self._cohort]
        mean = ExactMean(self.state.arrays, sum(sizes))
        self.outcome = Outcome()
        waiting = set(self._cohort)
        for reply in replies:
            node = reply.metadata.src_node_id
            if node in waiting:
                waiting.remove(node)
                self._admit(mean, server_round, node, reply)
        for node in sorted(waiting, key=lambda n: self.members[n].hello.name):
            self._refuse(node, "no reply in time")
        self._require_quorum(server_round)
        began = self._clock()
        self.state = advance(self.study, self.state, server_round, mean.mean())
        self.outcome.aggregate_s += self._clock() - began
        self.outcome.participants.sort()
        self.outcome.refused.sort(key=lambda refusal: refusal.hospital)
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: hospitals' scores on private data do not leave."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def summary(self) -> None:
        """The report tells, not the log."""

    def _admit(self, mean: ExactMean, number: int, node: int, reply: Message) -> None:
        began = self._clock()
        try:
            update = read_update(reply)
            if update.round != number:
                raise UpdateError(f"an update of round {update.round} came in round {number}")
            mean.fold(update.arrays, self.members[node].hello.size)
        except RefusedError as error:
            self._refuse(node, str(error), by_hospital=True)
        except UpdateError as error:
            self._refuse(node, str(error))
        else:
            self.outcome.participants.append(self.members[node].hello.name)
        self.outcome.aggregate_s += self._clock() - began

    def _refuse(self, node: int, reason: str, *, by_hospital: bool = False) -> None:
        name = self.members[node].hello.name
        refusal = Refusal(hospital=name, reason=reason, by_hospital=by_hospital)
        self.outcome.refused.append(refusal)

    def _require_quorum(self, number: int) -> None:
        good, asked = len(self.outcome.participants), len(self._cohort)
        if good and good >= self.study.rounds.quorum * asked:
            return
        reasons = "; ".join(f"{r.hospital}: {r.reason}" for r in self.outcome.refused[:5])
        raise RunError(
            f"round {number}: {good} of {asked} hospitals sent a good update, fewer than the "
            f"quorum of {self.study.rounds.quorum:.0%} ({reasons})"
        )


def order_for(
    study: Study, state: ServerState, member: Member, number: int, *, run: str = ""
) -> Order:
    """What a hospital is asked to do in a round."""
    training, rounds = study.training, study.rounds.count
    rate = scheduled(training.learning_rate, training.schedule, number, rounds)
    return Order(
        round=number,
        task=_task(study, number),
        arrays=state.arrays,
        training=training,
        learning_rate=warmed(rate, training.warmup, number, rounds),
        resolution=side_of(study, number),
        noise_multiplier=member.noise.noise_multiplier(number) if member.noise else None,
        clipping_norm=study.privacy.clipping_norm if study.privacy else 0.0,
        records_per_patient=study.privacy.patient_records if study.privacy else None,
        seed=study.seed,
        study=study.name,
        run=run,
    )


def advance(study: Study, state: ServerState, number: int, mean: Arrays) -> ServerState:
    """The aggregator's step at the end of a round, from the mean update."""
    if _task(study, number) == "statistics":
        return adopt(state, mean)
    rounds = study.rounds
    rate = scheduled(rounds.server_learning_rate, rounds.server_schedule, number, rounds.count)
    state = step(state, mean, learning_rate=rate, momentum=rounds.server_momentum)
    if rounds.average_from < 1 and number > rounds.average_from * rounds.count:
        state = fold_average(state)
    return state


def side_of(study: Study, number: int) -> int:
    """The side, in pixels, of the images that a round trains on, and is scored on."""
    low = number <= study.training.low_resolution * study.rounds.count
    return LOW_SIDE if low else SIDE


def _task(study: Study, number: int) -> Task:
    return "statistics" if number == 1 and is_linear(study.training.model) else "train"


def choose_cohort(study: Study, members: Mapping[int, Member], number: int) -> list[int]:
    """The nodes asked in a round, by public size, largest first; a seeded draw without favour."""
    by_name = sorted(members, key=lambda node: members[node].hello.name)
    count = max(1, round(study.rounds.participation * len(by_name)))
    draw = numpy_generator(study.seed, "cohort", number).permutation(len(by_name))[:count]
    return sorted((by_name[i] for i in draw), key=lambda node: -members[node].hello.size)


def as_they_come(
    grid: Grid,
    messages: Iterable[Message],
    *,
    timeout_s: float,
    poll_s: float,
    stopped: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Send messages and yield each reply when it arrives, until all came or time is up.

    Raises:
        RunError: when ``stopped`` says so.
    """
    pending = set(grid.push_messages(messages))
    deadline = clock() + timeout_s
    while pending and clock() < deadline:
        if stopped():
            raise StoppedError
        arrived = list(grid.pull_messages(pending))
        for reply in arrived:
            pending.discard(reply.metadata.reply_to_message_id)
            yield reply
        if not arrived:
            sleep(poll_s)
