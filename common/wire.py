"""The form of messages as Flower records: the only module that knows the names of records and keys.

Everything read from the other side is checked here: what is there, of which type, and that nothing
else is. Whether arrays fit the model is for ``arrays.check_like``.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import TypeVar, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from numpy.typing import NDArray
from pydantic import ValidationError

from fedward.common.arrays import Arrays
from fedward.common.config import TrainingConfig
from fedward.common.errors import RefusedError, UpdateError
from fedward.common.messages import (
    REFUSALS,
    TASKS,
    Failed,
    Hello,
    Order,
    Refused,
    Update,
)

Plain = TypeVar("Plain", int, float, str)
FAILED, REFUSED = 101, 102  # above Flower's own codes
FAILURE = "its own log says why"
MOST_LETTERS = 100  # of somebody else's text


def pack_hello(hello: Hello) -> RecordDict:
    """A Hello as Flower records."""
    return RecordDict(
        {"hello": ConfigRecord({"name": hello.name, "size": hello.size, "version": hello.version})}
    )


def read_hello(message: Message) -> Hello:
    """A Hello from the wire. Raises UpdateError when it is not one."""
    content = _content(message)
    _only(content, ("hello",))
    record = _config(content, "hello")
    _only(record, ("name", "size", "version"))
    return Hello(_get(record, "name", str), _get(record, "size", int), _get(record, "version", str))


def pack_orders(orders: Mapping[int, Order]) -> dict[int, RecordDict]:
    """Orders of one round by node; the model, the same for all, is serialised once."""
    shared: dict[int, ArrayRecord] = {}
    packed = {}
    for node, order in orders.items():
        model = shared.setdefault(id(order.arrays), _pack_arrays(order.arrays))
        packed[node] = RecordDict({"model": model, "order": _order_record(order)})
    return packed


def read_order(message: Message) -> Order:
    """An Order from the wire. Raises UpdateError when it is not one, or more than one."""
    content = _content(message)
    _only(content, ("model", "order"))
    record = _config(content, "order")
    _only(record, ORDER_KEYS)
    noise = _number(record, "noise_multiplier")
    records = _get(record, "records_per_patient", int)
    task = _get(record, "task", str)
    if task not in TASKS:
        raise UpdateError(f"'task' is none of {', '.join(TASKS)}")
    return Order(
        round=_get(record, "round", int),
        task=task,
        arrays=_read_arrays(content, "model"),
        training=_training(_get(record, "training", str)),
        learning_rate=_number(record, "learning_rate"),
        resolution=_get(record, "resolution", int),
        noise_multiplier=noise if noise > 0 else None,
        clipping_norm=_number(record, "clipping_norm"),
        records_per_patient=records if records > 0 else None,
        seed=_get(record, "seed", int),
        study=_get(record, "study", str),
        run=_get(record, "run", str),
    )


def pack_update(update: Update) -> RecordDict:
    """An Update as Flower records."""
    return RecordDict(
        {
            "difference": _pack_arrays(update.arrays),
            "update": ConfigRecord({"round": update.round}),
        }
    )


def read_update(message: Message) -> Update:
    """An Update from the wire.

    Raises:
        RefusedError: the hospital refused the order; the text says why, in words known here.
        UpdateError: it is no update, or more than one.
    """
    content = _content(message)
    record = _config(content, "update")
    _only(record, ("round",))
    number = _get(record, "round", int)
    arrays = _read_arrays(content, "difference")
    _only(content, ("difference", "update"))
    return Update(number, arrays)


def error_of(answer: Refused | Failed) -> Error:
    """A Refused or a Failed as Flower sends it."""
    if isinstance(answer, Refused):
        return Error(code=REFUSED, reason=answer.reason)
    return Error(code=FAILED, reason=FAILURE)


def digest_of(order: Order) -> str:
    """What tells an order from every other: 64 hexadecimal digits over all that it holds."""
    document = {**dict(_order_record(order)), "arrays": sorted(order.arrays)}
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(order.arrays):
        array = np.ascontiguousarray(order.arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _order_record(order: Order) -> ConfigRecord:
    return ConfigRecord(
        {
            "round": order.round,
            "task": order.task,
            "training": json.dumps(order.training.model_dump(mode="json")),
            "learning_rate": order.learning_rate,
            "resolution": order.resolution,
            "noise_multiplier": order.noise_multiplier or 0.0,
            "clipping_norm": order.clipping_norm,
            "records_per_patient": order.records_per_patient or 0,
            "seed": order.seed,
            "study": order.study,
            "run": order.run,
        }
    )


ORDER_KEYS = (
    "round",
    "task",
    "training",
    "learning_rate",
    "resolution",
    "noise_multiplier",
    "clipping_norm",
    "records_per_patient",
    "seed",
    "study",
    "run",
)


def _pack_arrays(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in arrays.items()})


def _content(message: Message) -> RecordDict:
    if message.has_error():
        code, reason = message.error.code, message.error.reason or ""
        if code == REFUSED and reason in REFUSALS:
            raise RefusedError(f"refused by the hospital: {REFUSALS[reason]}")
        raise UpdateError(f"the hospital failed: {reason[:MOST_LETTERS]}")
    return message.content


def _only(record: Iterable[str], known: Iterable[str]) -> None:
    """Nothing comes along that nobody asked for."""
    if unknown := sorted(set(record) - set(known)):
        raise UpdateError(f"{unknown[0][:40]!r} is not known ({len(unknown)} such in all)")


def _config(content: RecordDict, key: str) -> ConfigRecord:
    record = content.get(key)
    if not isinstance(record, ConfigRecord):
        raise UpdateError(f"the reply has no record {key!r}")
    return record


def _get(record: ConfigRecord, key: str, kind: type[Plain]) -> Plain:
    value: ConfigRecordValues | None = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UpdateError(f"{key!r} is not of type {kind.__name__}")
    return value


def _number(record: ConfigRecord, key: str) -> float:
    value = _get(record, key, float)
    if not math.isfinite(value):
        raise UpdateError(f"{key!r} is not a finite number")
    return value


def _training(document: str) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate_json(document)
    except ValidationError as error:
        raise UpdateError(f"'training' is no training: {error.error_count()} wrong") from None


def _read_arrays(content: RecordDict, key: str) -> Arrays:
    record = content.get(key)
    if not isinstance(record, ArrayRecord):
        raise UpdateError(f"the reply has no arrays {key!r}")
    return {name: _read_array(name, array) for name, array in record.items()}


def _read_array(name: str, array: Array) -> NDArray[np.float32]:
    try:
        return cast(NDArray[np.float32], array.numpy())
    except (ValueError, OSError, EOFError, TypeError) as error:
        raise UpdateError(f"array {name!r} cannot be read: {type(error).__name__}") from None
