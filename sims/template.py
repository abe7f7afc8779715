"""Starts and reaches the template process that sims/worker.py runs. Light: no torch, no Flower.

A request is one byte on the control socket, with a channel of its own:

    DEAL   the channel holds a study, whose source has been read once, and its run directory: deal
           its faces now
    FORK   serve what comes through the channel in a fresh child
"""

import os
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from fedward.common.errors import RunError

DEAL, FORK, READY = b"d", b"f", b"r"
SPAN = struct.Struct("dd")  # start and end of a hospital's work, on the clock all processes share
RUN_VARIABLE = "FEDWARD_RUN"  # the run directory, for hospitals' processes
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Template:
    """The template process; between ``start`` and ``stop`` it is replaced when it is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = False
        self._study = self._run = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False

    def start(self) -> None:
        """Begin to start it, without waiting; it imports while the caller does something else."""
        with self._lock:
            self._wanted = True
            self._start()

    def deal(self, study: str, run: Path) -> None:
        """Let it deal the faces of a study, given as JSON, when it is up; without waiting.
        Hospitals' ledgers, and what they log, are in the run directory."""
        with self._lock:
            self._study, self._run = study, str(run.absolute())
            if self._runs():
                self._send_study()

    def connect(self) -> Connection:
        """A connection to a freshly forked child.

        Raises:
            RunError: when the template cannot be started, or was stopped.
        """
        with self._lock:
            if not self._wanted:
                raise RunError("the run has ended: no hospital is asked any more")
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    self._fork(theirs)
                except (OSError, RunError):
                    ours.close()
                    self._stop()
                    raise RunError(
                        "the process that simulates hospitals ended unexpectedly; see hospitals.log"
                    ) from None
        return Connection(ours.detach())

    def stop(self) -> None:
        """End it, and with it whatever its children still compute."""
        with self._lock:
            self._stop()
            self._wanted, self._study, self._run = False, "", ""

    def _fork(self, channel: socket.socket) -> None:
        self._start()
        assert self._control is not None
        if not self._ready and self._control.recv(1) != READY:
            raise RunError("the template did not come up")
        self._ready = True
        socket.send_fds(self._control, [FORK], [channel.fileno()])

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        if self._runs():
            return
        self._stop()  # what a lost one left
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedward.sims.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
                process_group=0,  # Ctrl-C is for the aggregator to handle
            )
        self._control, self._ready = ours, False
        if self._study:
            self._send_study()

    def _send_study(self) -> None:
        assert self._control is not None
        ours, theirs = socket.socketpair()
        # One that just died is missed, and replaced, by the next ``connect``.
        with theirs, Connection(ours.detach()) as channel, suppress(OSError):
            channel.send_bytes(self._study.encode())  # a few kB: the socket takes them at once
            channel.send_bytes(self._run.encode())
            socket.send_fds(self._control, [DEAL], [theirs.fileno()])

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            if not self._ready:  # it imports, and would see the end of the socket only afterwards
                self._process.kill()
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process, self._control = None, None


template = Template()
