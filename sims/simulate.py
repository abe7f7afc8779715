"""`fedward simulate`: a run from a command to its report, through Flower's simulation runtime."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fedward.common.config import Study
from fedward.common.errors import ConfigError, FedwardError, RunError
from fedward.common.result import Result
from fedward.sims.progress import Tell
from fedward.sims.run import Run
from fedward.sims.template import RUN_VARIABLE, template

QUIET = {  # nothing is reported, looked up or installed, and Ray gives no advice
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def simulate(
    study: Study,
    folder: Path,
    *,
    workers: int,
    engine: str,
    began: float,
    tell: Tell,
) -> Result:
    """Run a study in ``folder``.

    Args:
        study: what.
        folder: an empty run directory, or an interrupted one of the same study.
        workers: hospitals that train at a time; 0 is one per core.
        engine: "fedward" or "ray".
        began: monotonic time of the command, for ``seconds``.
        tell: hears how it goes.

    Raises:
        FedwardError: why it could not be finished. The run directory is valid and says so.
    """
    with _environment(study, folder, workers, engine):
        try:
            if engine == "ray":
                _require_ray()
            else:
                template.start()  # first of all: it imports while this process does
            stop = threading.Event()
            run = Run(study, folder, began, tell.round_done, stop.is_set)
            _read(run, tell)
            template.deal(study.model_dump_json(), folder)
            with _stop_signals(stop):
                return _run_on_flower(run, engine)
        finally:
            template.stop()


def _read(run: Run, tell: Tell) -> None:
    """Parse the source once, before others need it."""
    from fedward.sims.sources import open_source  # brings torch: seconds

    with run.data_time:
        open_source(run.study.data, run.study.seed, tell.reading)


@contextmanager
def _environment(study: Study, folder: Path, workers: int, engine: str) -> Iterator[None]:
    """What Flower, Ray and the hospitals' processes read from the environment."""
    before = dict(os.environ)
    os.environ.update(QUIET)
    os.environ["FEDWARD_STUDY"] = study.model_dump_json()
    os.environ["FEDWARD_ENGINE"] = engine
    os.environ["FEDWARD_WORKERS"] = str(workers)
    os.environ[RUN_VARIABLE] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _require_ray() -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--engine ray needs Ray: pip install 'fedward[ray]', or leave --engine out"
        ) from None


def _run_on_flower(run: Run, engine: str) -> Result:
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from fedward.sims.apps import simulate_on
    from fedward.sims.sites import client_app

    outcome: list[Result | FedwardError] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            outcome.append(simulate_on(grid, run))
        except FedwardError as error:  # Flower would log a traceback of it
            outcome.append(error)

    log = run.folder / "flower.log"
    with _flower_log(log):
        run_simulation(
            server_app=server_app,
            client_app=client_app,
            num_supernodes=run.study.hospitals.count,
            backend_name=engine,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    if not outcome:
        raise RunError(f"Flower ended without running the study; see {log}")
    if isinstance(outcome[0], FedwardError):
        raise outcome[0]
    return outcome[0]


@contextmanager
def _flower_log(path: Path) -> Iterator[None]:
    """Send what Flower logs to a file; the terminal is for progress and results."""
    logger = logging.getLogger("flwr")
    before = list(logger.handlers)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.handlers = [handler]
    try:
        yield
    finally:
        logger.handlers = before
        handler.close()


@contextmanager
def _stop_signals(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM set ``stop``: the aggregator ends at its next look, with a valid run
    directory. A second Ctrl-C ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
