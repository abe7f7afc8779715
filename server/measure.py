"""How the released model does at every hospital, by the hospitals' own noisy counts.

One more exchange after the last round, for studies that ask for it. It costs each hospital a small
release of its own (common/noisy_counts.py); a hospital that refuses, or does not answer, is told
apart and changes nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from flwr.app import Message, MessageType

from fedward.common.arrays import check_like
from fedward.common.config import Study
from fedward.common.errors import RefusedError, UpdateError
from fedward.common.messages import Order, declared
from fedward.common.noisy_counts import COUNTS, accuracy_of
from fedward.common.wire import pack_orders, read_update
from fedward.server.aggregate import ServerState
from fedward.server.strategy import Member, order_for

Ask = Callable[[list[Message]], Iterator[Message]]


def measure(
    study: Study, members: Mapping[int, Member], state: ServerState, ask: Ask, *, run: str
) -> dict[str, float | None]:
    """Noisy accuracies by hospital.

    Args:
        study: what was trained.
        members: the roster, by Flower node.
        state: after the last round.
        ask: sends messages and yields replies as they come.
        run: a name of this run.

    Returns:
        Accuracy, None where there was no usable answer; a hospital that refused is left out, since
        nothing left it. Empty where the study does not ask.
    """
    if study.privacy is None or study.privacy.metrics_noise_multiplier is None:
        return {}
    orders = {node: metrics_order(study, state, one, run=run) for node, one in members.items()}
    messages = [
        Message(content=content, message_type=MessageType.TRAIN, dst_node_id=node)
        for node, content in pack_orders(orders).items()
    ]
    found: dict[str, float | None] = {one.hello.name: None for one in members.values()}
    for reply in ask(messages):
        node = reply.metadata.src_node_id
        if node in orders:
            _note(found, members[node].hello.name, orders[node], reply)
    return found


def _note(found: dict[str, float | None], name: str, order: Order, reply: Message) -> None:
    try:
        update = read_update(reply)
        check_like(update.arrays, declared(order))
        found[name] = accuracy_of(update.arrays[COUNTS])
    except RefusedError:
        found.pop(name, None)
    except UpdateError:
        found[name] = None


def metrics_order(study: Study, state: ServerState, member: Member, *, run: str) -> Order:
    """The order to count the released model's right answers."""
    assert study.privacy is not None
    return replace(
        order_for(study, state, member, study.rounds.count + 1, run=run),
        task="metrics",
        arrays=state.released(),
        noise_multiplier=study.privacy.metrics_noise_multiplier,
    )
