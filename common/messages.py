"""What travels between aggregator and hospital, as types, and their form as Flower records.

The only module that knows the names of records and keys. Two exchanges exist:

    (empty query)  ->  Hello     who are you (once per run)
    Order          ->  Update    train, and send the difference (once per round)

An Update holds differences of arrays and nothing else: no counts, losses, scores or timings.
Everything read from the other side is checked here for presence and type; whether arrays fit the
model is for ``arrays.check_like``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from numpy.typing import NDArray

from fedward.common.arrays import Arrays
from fedward.common.config import TrainingConfig
from fedward.common.errors import UpdateError

Task = Literal["statistics", "train"]
Plain = TypeVar("Plain", int, float, str)


@dataclass(frozen=True)
class Hello:
    """How a hospital introduces itself.

    Attributes:
        name: the hospital's name.
        size: its public size, a rounded number of units (images, or patients where privacy is per
            patient); the exact number is private.
        version: of its Fedward.
    """

    name: str
    size: int
    version: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """One round's work for one hospital.

    Attributes:
        round: from 1.
        task: "train", or "statistics" for the mean of fixed features.
        arrays: the global model.
        training: the study's training settings.
        learning_rate: of this round, after the schedule.
        resolution: side of the images in pixels, 48 or less.
        noise_multiplier: noise standard deviation per clipping norm; None trains without privacy.
        clipping_norm: L2 bound on what one unit of privacy adds.
        records_per_patient: under privacy per patient, how many of a patient's images enter a step
            at most; None: every image is a unit of its own.
        seed: of the simulation; a hospital derives its own generators from it, its name and the
            round.
    """

    round: int
    task: Task
    arrays: Arrays
    training: TrainingConfig
    learning_rate: float
    resolution: int
    noise_multiplier: float | None
    clipping_norm: float
    records_per_patient: int | None = None
    seed: int


@dataclass(frozen=True)
class Update:
    """What a hospital sends back: the model after the order minus the model before it."""

    round: int
    arrays: Arrays


def pack_hello(hello: Hello) -> RecordDict:
    """A Hello as Flower records."""
    return RecordDict(
        {"hello": ConfigRecord({"name": hello.name, "size": hello.size, "version": hello.version})}
    )


def read_hello(message: Message) -> Hello:
    """A Hello from the wire. Raises UpdateError when it is not one."""
    record = _config(_content(message), "hello")
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
    """An Order from the wire. Raises UpdateError when it is not one."""
    content = _content(message)
    record = _config(content, "order")
    noise = _get(record, "noise_multiplier", float)
    records = _get(record, "records_per_patient", int)
    return Order(
        round=_get(record, "round", int),
        task=cast(Task, _get(record, "task", str)),
        arrays=_read_arrays(content, "model"),
        training=TrainingConfig.model_validate_json(_get(record, "training", str)),
        learning_rate=_get(record, "learning_rate", float),
        resolution=_get(record, "resolution", int),
        noise_multiplier=noise if noise > 0 else None,
        clipping_norm=_get(record, "clipping_norm", float),
        records_per_patient=records if records > 0 else None,
        seed=_get(record, "seed", int),
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
    """An Update from the wire. Raises UpdateError when it is not one."""
    content = _content(message)
    round_number = _get(_config(content, "update"), "round", int)
    return Update(round_number, _read_arrays(content, "difference"))


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
        }
    )


def _pack_arrays(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in arrays.items()})


def _content(message: Message) -> RecordDict:
    if message.has_error():
        raise UpdateError(f"the hospital failed: {message.error.reason}")
    return message.content


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
