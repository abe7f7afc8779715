"""The one way out of a hospital: every reply passes here, and only these kinds of answer can.

    Hello       name, public size, version: declared public values
    Released    how the model changed, through a mechanism that the ledger charged
    SentAgain   the same bytes as before, for the same order
    Refused     one word of a known list
    Failed      nothing

There is no way to say anything else: no loss, no accuracy, no count, no text of an exception, no
time finer than a second. A private update leaves when the ledger has it on the disk, not earlier.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from flwr.app import Error, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from fedward.client.egress import AGAIN, Departure, Kind, departure, note
from fedward.client.guard import Charge, Guard, sha256
from fedward.common.arrays import check_like
from fedward.common.messages import (
    REFUSALS,
    Failed,
    Hello,
    Order,
    Refused,
    Update,
    declared,
)
from fedward.common.wire import error_of, pack_hello, pack_update


@dataclass(frozen=True)
class Released:
    """An update, and what it was charged with; None where the hospital keeps no budget."""

    update: Update
    order: Order
    charge: Charge | None


@dataclass(frozen=True)
class SentAgain:
    """The content that answered the same order before."""

    content: bytes
    order: Order


Answer = Hello | Released | SentAgain | Refused | Failed


def let_out(answer: Answer, message: Message, guard: Guard | None) -> Message:
    """The reply to a message.

    Args:
        answer: what the hospital says.
        message: what it answers.
        guard: of a hospital that keeps a budget; every reply of one is written down.

    Raises:
        FedwardError: the answer is not as declared, or not paid for; nothing leaves.
    """
    said = _said(answer)
    charge = answer.charge if isinstance(answer, Released) else None
    if guard is not None or charge is not None:
        content = _bytes(said)
        digest = sha256(content)
        if charge is not None:
            charge.spend(content, sha256=digest)
        if guard is not None:
            line = departure(_kind(answer), now=guard.clock(), size=len(content), sha256=digest)
            note(guard.egress, _with_order(line, answer))
    if isinstance(said, Error):
        return _to_the_second(Message(error=said, reply_to=message))
    return _to_the_second(Message(content=said, reply_to=message))


def _said(answer: Answer) -> RecordDict | Error:
    """An answer as Flower sends it, after a look whether it is as it should be."""
    if isinstance(answer, SentAgain):
        return _records(answer.content)
    if isinstance(answer, Hello):
        return pack_hello(answer)
    if isinstance(answer, Released):
        check_like(answer.update.arrays, declared(answer.order))
        return pack_update(answer.update)
    if isinstance(answer, Refused) and answer.reason not in REFUSALS:
        raise ValueError(f"no word for this refusal: {answer.reason}")
    return error_of(answer)


def _with_order(line: Departure, answer: Answer) -> Departure:
    if not isinstance(answer, Released | SentAgain):
        return line
    order = answer.order
    charge = answer.charge if isinstance(answer, Released) else None
    how = AGAIN if charge is None else charge.mechanism
    of = {"study": order.study, "run": order.run, "round": order.round, "mechanism": how}
    return line.model_copy(update=of)


def _kind(answer: Answer) -> Kind:
    if isinstance(answer, Hello):
        return "hello"
    if isinstance(answer, Refused):
        return "refusal"
    return "failure" if isinstance(answer, Failed) else "update"


def _to_the_second(reply: Message) -> Message:
    """Flower stamps a reply to the microsecond, which tells how long training took; what is left of
    the order's life, which it writes beside it, tells the same."""
    expiry = reply.metadata.created_at + reply.metadata.ttl
    reply.metadata.created_at = float(math.floor(datetime.now(UTC).timestamp()))
    reply.metadata.ttl = expiry - reply.metadata.created_at
    return reply


def _bytes(said: RecordDict | Error) -> bytes:
    if isinstance(said, Error):
        return (said.reason or "").encode()
    return bytes(recorddict_to_proto(said).SerializeToString(deterministic=True))


def _records(content: bytes) -> RecordDict:
    return recorddict_from_proto(ProtoRecordDict.FromString(content))
