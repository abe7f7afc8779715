"""A Flower grid that answers at once, in this process: rounds without a runtime, faults at will."""

import time
from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

Fault = Callable[[int, Message], Message]


class InProcessGrid(Grid):
    """Nodes 1..n, each a ClientApp; ``faults`` may replace the reply of a node."""

    def __init__(self, app: ClientApp, nodes: int, faults: dict[int, Fault] | None = None) -> None:
        self._app = app
        self._nodes = nodes
        self._faults = faults or {}
        self._replies: dict[str, Message] = {}
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1

    def set_run(self, run: object) -> None:
        """Not used."""

    @property
    def run(self) -> object:
        """Not used."""
        return None

    def create_message(self, *args: object) -> Message:
        """Not used."""
        raise AssertionError

    def get_node_ids(self) -> Iterable[int]:
        """1 to n."""
        return range(1, self._nodes + 1)

    def get_nodes(self) -> Iterable[object]:
        """Not used."""
        return []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Have every message answered now."""
        ids = []
        for message in messages:
            identity = str(uuid4())
            message.metadata.__dict__["_message_id"] = identity
            node = message.metadata.dst_node_id
            context = Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": node - 1},
                state=RecordDict(),
                run_config={},
            )
            reply = self._app(message, context)
            if node in self._faults:
                reply = self._faults[node](node, reply)
            if reply is not None:
                self._replies[identity] = reply
            ids.append(identity)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """All replies that are there."""
        return [self._replies.pop(i) for i in list(message_ids) if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Not used."""
        time.sleep(0)
        return []
