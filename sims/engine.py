"""Fedward's engine inside Flower's simulation runtime, and the one place that knows its internals.

Flower 1.41 imports its only backend, Ray's, lazily and by name (flwr.server.superlink.fleet.vce.
vce_api.start_vce). ``install`` puts a module of that name with our backend into ``sys.modules``
before that happens. It also replaces the function that hands orders to the backend, which looks
for them ten times a second only. Under Ray both stay Flower's own. tests/sims/test_engine.py fails
loudly when Flower changes any of this.
"""

import os
import sys
import threading
import types
from collections.abc import Callable
from queue import Queue
from typing import cast

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.common.serde import (
    context_from_proto,
    context_to_proto,
    message_from_proto,
    message_to_proto,
)
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.fleet.vce.backend.backend import Backend, BackendConfig
from flwr.server.superlink.linkstate import LinkState
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState

from fedward.common.errors import RunError
from fedward.sims.busy import BusyLog
from fedward.sims.template import SPAN, template

RAY_MODULE = "flwr.server.superlink.fleet.vce.backend.raybackend"
ENGINE_VARIABLE = "FEDWARD_ENGINE"
WORKERS_VARIABLE = "FEDWARD_WORKERS"
LOOK_EVERY_S = 0.002

busy = BusyLog()


def worker_count() -> int:
    """How many hospitals train at a time: FEDWARD_WORKERS, or the cores of this process."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux knows what the process may use
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return int(os.environ.get(WORKERS_VARIABLE, 0)) or cores


def busy_s(start: float, end: float) -> float:
    """Seconds of [start, end] in which some hospital was computing; under Ray nobody notes them,
    so that all of the time counts as training."""
    return busy.busy_s(start, end) if uses_fedward() else end - start


def uses_fedward() -> bool:
    """Whether hospitals run in Fedward's engine rather than Ray's."""
    return os.environ.get(ENGINE_VARIABLE, "fedward") != "ray"


class ForkBackend(Backend):
    """Runs every message in a fresh process forked from a warm template."""

    def __init__(self, backend_config: BackendConfig) -> None:
        self._workers = worker_count()

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        """Nothing to build: children have the same app (sims/apps.py) from the template."""
        template.start()

    @property
    def num_workers(self) -> int:
        """Messages processed at a time; Flower runs one thread for each."""
        return self._workers

    def is_worker_idle(self) -> bool:
        """Flower's threads ask only when they have nothing to do."""
        return True

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        """Send a message to a fresh child and wait for its reply.

        Raises:
            RunError: when the child dies; Flower turns it into an error reply of that hospital.
        """
        with template.connect() as connection:
            try:
                connection.send_bytes(message_to_proto(message).SerializeToString())
                connection.send_bytes(context_to_proto(context).SerializeToString())
                busy.note(*SPAN.unpack(connection.recv_bytes()))
                reply = ProtoMessage.FromString(connection.recv_bytes())
                after = ProtoContext.FromString(connection.recv_bytes())
            except (EOFError, OSError):
                raise RunError("the hospital's process died") from None
        return message_from_proto(reply), context_from_proto(after)

    def terminate(self) -> None:
        """End the template and its children."""
        template.stop()


def hand_over_orders(
    state: LinkState,
    queue: Queue[Message],
    nodes_mapping: vce_api.NodeToPartitionMapping,
    f_stop: threading.Event,
) -> None:
    """Move orders from Flower's state to the backend's queue, until Flower stops it.

    Flower's own function (vce_api.add_messages_to_queue) asks the state for every node in turn,
    and each answer goes through all messages; this one asks for those nodes that have an order.
    """
    memory = cast(InMemoryLinkState, state)  # which every simulation uses
    while not f_stop.is_set():
        with memory.lock:
            waiting = {
                message.metadata.dst_node_id
                for message in memory.message_ins_store.values()
                if not message.metadata.delivered_at
            }
        for node in nodes_mapping:  # in its order, the largest hospital first
            if node in waiting:
                for message in state.get_message_ins(node_id=node, limit=1):
                    queue.put(message)
        f_stop.wait(LOOK_EVERY_S)


def install() -> None:
    """Make Flower's simulation runtime use this engine, unless FEDWARD_ENGINE asks for Ray.

    Must run before the runtime starts; sims/apps.py, which Flower imports first, does it.
    """
    if not uses_fedward():
        return
    module = types.ModuleType(RAY_MODULE)
    module.RayBackend = ForkBackend  # type: ignore[attr-defined]
    sys.modules[RAY_MODULE] = module
    vce_api.add_messages_to_queue = hand_over_orders
