"""Starts and reaches the template process that sims/worker.py runs. Light: no torch, no Flower."""

import os
import socket
import struct
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

from fedward.common.errors import RunError

SPAN = struct.Struct("dd")  # start and end of a hospital's work, on the clock all processes share
HOSPITAL_LOG_VARIABLE = "FEDWARD_HOSPITAL_LOG"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Template:
    """The template process, started on first use and again if it was lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready = False

    def start(self) -> None:
        """Begin to start it, without waiting; it imports while the caller does something else."""
        with self._lock:
            self._start()

    def connect(self) -> Connection:
        """A connection to a freshly forked child.

        Raises:
            RunError: when the template cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
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

    def _fork(self, channel: socket.socket) -> None:
        self._start()
        assert self._control is not None
        if not self._ready and self._control.recv(1) != b"r":
            raise RunError("the template did not come up")
        self._ready = True
        socket.send_fds(self._control, [b"f"], [channel.fileno()])

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedward.sims.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
            )
        self._control, self._ready = ours, False

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process, self._control = None, None


template = Template()
