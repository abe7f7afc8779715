"""What is packed is what is read; what is malformed is refused."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedward.common.config import TrainingConfig
from fedward.common.errors import UpdateError
from fedward.common.messages import Hello, Order, Update
from fedward.common.wire import (
    pack_hello,
    pack_orders,
    pack_update,
    read_hello,
    read_order,
    read_update,
)


@pytest.fixture(autouse=True)
def identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def sent(content: RecordDict) -> Message:
    return Message(content=content, dst_node_id=2, message_type="train")


def order(noise: float | None = 1.5, records: int | None = 4) -> Order:
    return Order(
        round=3,
        task="train",
        arrays={"w": np.arange(6, dtype=np.float32).reshape(2, 3)},
        training=TrainingConfig(model="lstm", batch_size=7),
        learning_rate=0.25,
        resolution=36,
        noise_multiplier=noise,
        clipping_norm=0.5,
        records_per_patient=records,
        seed=9,
    )


@pytest.mark.parametrize(("noise", "records"), [(1.5, None), (1.5, 1), (1.5, 4), (None, None)])
def test_an_order_arrives_as_it_was_sent(noise: float | None, records: int | None) -> None:
    got = read_order(sent(pack_orders({2: order(noise, records)})[2]))
    assert got.records_per_patient == records
    np.testing.assert_array_equal(got.arrays["w"], order().arrays["w"])
    assert got.training == order().training
    assert (got.round, got.task, got.learning_rate, got.resolution) == (3, "train", 0.25, 36)
    assert (got.noise_multiplier, got.clipping_norm, got.seed) == (noise, 0.5, 9)


def test_orders_of_a_round_share_one_serialised_model() -> None:
    first = order()
    packed = pack_orders({1: first, 2: first})
    assert packed[1]["model"] is packed[2]["model"]


def test_hello_and_update_arrive_as_they_were_sent() -> None:
    hello = Hello("hospital-01", 2100, "0.1.0")
    assert read_hello(sent(pack_hello(hello))) == hello
    update = read_update(sent(pack_update(Update(4, {"b": np.ones(2, np.float32)}))))
    assert update.round == 4
    np.testing.assert_array_equal(update.arrays["b"], [1, 1])


def test_an_update_holds_the_round_and_arrays_alone() -> None:
    content = pack_update(Update(4, {"b": np.ones(2, np.float32)}))
    assert set(content) == {"difference", "update"}
    assert dict(content["update"]) == {"round": 4}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (RecordDict(), "no record 'update'"),
        (RecordDict({"update": ConfigRecord({"round": "x"})}), "'round' is not of type int"),
        (RecordDict({"update": ConfigRecord({"round": True})}), "'round' is not of type int"),
        (RecordDict({"update": ConfigRecord({"round": 1})}), "no arrays"),
    ],
)
def test_malformed_updates_are_refused(content: RecordDict, reason: str) -> None:
    with pytest.raises(UpdateError, match=reason):
        read_update(sent(content))


def test_bytes_that_are_no_array_are_refused() -> None:
    broken = Array("float32", (2,), "numpy.ndarray", b"\x80\x04]q\x00.")  # a pickle
    content = RecordDict(
        {"update": ConfigRecord({"round": 1}), "difference": ArrayRecord({"w": broken})}
    )
    with pytest.raises(UpdateError, match="'w' cannot be read"):
        read_update(sent(content))


def test_an_error_reply_says_so() -> None:
    reply = Message(error=Error(code=101, reason="ValueError"), reply_to=sent(RecordDict()))
    with pytest.raises(UpdateError, match="failed: ValueError"):
        read_update(reply)
