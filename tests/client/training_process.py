"""A hospital that trains as ordered until it is killed: ledger, gate, private training and all.

Argument: a folder with ledger.db. For every line on standard input a process is forked that
answers orders; it prints its number, then the SHA-256 of every update that has left, and "dead"
when it was killed.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedward.client.app import client_app
from fedward.client.egress import read_departures
from fedward.client.guard import Guard
from fedward.client.ledger import Ledger
from fedward.client.local import rehearse
from fedward.client.site import Site
from fedward.common.config import TrainingConfig
from fedward.common.faces import FaceSet
from fedward.common.messages import Order
from fedward.common.wire import pack_orders
from fedward.server.evaluate import initial_arrays

SIZE, NOISE = 8, 200.0
TRAINING = TrainingConfig(model="thesis-lstm", batch_size=0)


def noon() -> datetime:
    return datetime(2026, 5, 4, 12, tzinfo=UTC)


def hospital(folder: Path) -> Site:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    ledger = Ledger(folder / "ledger.db", key, clock=noon)
    guard = Guard(ledger, folder / "egress.jsonl", folder / "outbox", None, noon)
    images = np.random.default_rng(0).integers(0, 256, (SIZE, 48, 48)).astype(np.uint8)
    faces = FaceSet(images, np.arange(SIZE) % 7, np.arange(SIZE))
    return Site("hospital-1", SIZE, faces, None, "image", guard)


def train(folder: Path) -> None:
    """Answer one order after the other, each of its own seed."""
    site = hospital(folder)
    assert site.guard is not None
    app = client_app(lambda context: site)
    arrays = initial_arrays(TRAINING, 0)
    number = 0
    while True:
        number += 1
        order = Order(
            round=number,
            task="train",
            arrays=arrays,
            training=TRAINING,
            learning_rate=0.01,
            resolution=48,
            noise_multiplier=NOISE,
            clipping_norm=1.0,
            seed=os.getpid(),
            study="s",
            run="r",
        )
        message = Message(content=pack_orders({1: order})[1], dst_node_id=1, message_type="train")
        message.metadata.__dict__["_message_id"] = "1"
        reply = app(message, Context(1, 1, {}, RecordDict(), {}))
        assert not reply.has_error(), reply.error
        *_, last = read_departures(site.guard.egress)
        print(last.sha256, flush=True)


def nursery(folder: Path) -> None:
    """Children start at once, since everything is imported."""
    torch.set_num_threads(1)
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    rehearse(TRAINING, private=True)
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            print(os.getpid(), flush=True)
            train(folder)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    nursery(Path(sys.argv[1]))
