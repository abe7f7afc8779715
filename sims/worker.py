"""Processes in which simulated hospitals train, one fresh process for every order.

One template process imports everything and deals the study's faces, once. For every order it
forks: a child starts in milliseconds with all of that shared, trains one hospital, answers and
ends. So no hospital sees another's memory, random state or leftovers, one that crashes harms
nobody, and memory does not grow with the number of hospitals.

The template never starts a thread (one OpenMP thread, no Flower connection), which is what makes
forking it safe. Messages cross as protocol buffers; nothing is pickled.

Run as ``python -m fedward.sims.worker FD`` by sims/template.py, which says what FD carries.
"""

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from flwr.common.serde import (
    context_from_proto,
    context_to_proto,
    message_from_proto,
    message_to_proto,
)
from flwr.proto.message_pb2 import Context as ProtoContext
from flwr.proto.message_pb2 import Message as ProtoMessage

from fedward.client.local import rehearse
from fedward.common.config import Study
from fedward.common.errors import FedwardError
from fedward.common.feature_cache import cache_check
from fedward.common.models import spec_of
from fedward.common.privacy import GaussianEvent, epsilon_of
from fedward.sims.ledgers import rehearse_charge
from fedward.sims.sites import STUDY_VARIABLE, client_app, consortium
from fedward.sims.template import DEAL, READY, RUN_VARIABLE, SPAN

_DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG
Check = Callable[[], bool]


def main(control_fd: int) -> None:
    """Do what arrives on the control socket, one request after the other; end when it closes."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    control = socket.socket(fileno=control_fd)
    control.send(READY)
    unseen: list[Check] = []
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        if request == DEAL:
            with Connection(descriptors[0]) as channel:
                study, run = (channel.recv_bytes().decode() for _ in range(2))
                unseen = _deal(study, run)
            continue
        unseen = _missing(unseen)
        if os.fork() == 0:
            control.close()
            _die_with_parent()
            _serve_and_exit(descriptors[0])
        os.close(descriptors[0])


def _deal(study: str, run: str) -> list[Check]:
    """Do once, and have in memory, what every child would have to do for itself. Returns what is
    to be asked again before a child is forked: features that a hospital's first order makes."""
    unseen: list[Check] = []
    os.environ[STUDY_VARIABLE], os.environ[RUN_VARIABLE] = study, run
    log = Path(run) / "hospitals.log"
    logging.basicConfig(filename=log, format="%(asctime)s %(name)s: %(message)s", force=True)
    try:
        dealt = consortium(Study.model_validate_json(study))
        model = dealt.study.training.model
        sites = dealt.sites  # photographed now, else every child would photograph them all
        if features := spec_of(model).features:
            kind = features()
            unseen = _missing(
                [cache_check(kind, site.faces.images, site.cache) for site in sites if site.cache]
            )
        if not spec_of(model).linear:
            rehearse(dealt.study.training, private=dealt.study.privacy is not None)
            if dealt.study.privacy:  # its accountant is slow to import
                epsilon_of([GaussianEvent(1.0, 0.5)], delta=1e-5)
        if dealt.study.privacy:
            rehearse_charge()
    except FedwardError as error:  # every order will meet it again, and report it
        logging.getLogger("fedward.sims").error("%s", error)
    gc.freeze()  # so that a child's garbage collector does not touch, and copy, shared pages
    return unseen


def _missing(checks: list[Check]) -> list[Check]:
    """The checks of what is not there yet."""
    with suppress(OSError):  # the order will meet it again, and report it
        return [seen for seen in checks if not seen()]
    return checks


def _serve_and_exit(descriptor: int) -> None:
    status = 1
    try:
        with Connection(descriptor) as connection:
            _serve(connection)
        status = 0
    except (EOFError, OSError):
        pass  # the aggregator is gone
    finally:
        os._exit(status)  # without the template's exit handlers


def _serve(connection: Connection) -> None:
    """Answer one message. Frames in: message, context. Frames out: span, message, context."""
    message = message_from_proto(ProtoMessage.FromString(connection.recv_bytes()))
    context = context_from_proto(ProtoContext.FromString(connection.recv_bytes()))
    began = time.monotonic()
    reply = client_app(message, context)
    ended = time.monotonic()
    connection.send_bytes(SPAN.pack(began, ended))
    connection.send_bytes(message_to_proto(reply).SerializeToString())
    connection.send_bytes(context_to_proto(context).SerializeToString())


def _die_with_parent() -> None:
    """On Linux, end this child when the template ends; elsewhere it ends after its order."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


if __name__ == "__main__":
    with suppress(ConnectionError):  # the aggregator is gone
        main(int(sys.argv[1]))
