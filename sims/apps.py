"""The two apps of a simulation, as Flower loads them: the deployment's own, on simulated sites.

`fedward simulate` and `flwr run .` use the very same pair. Importing this module makes Flower's
simulation runtime use Fedward's engine (sims/engine.py).
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedward.common.errors import RunError
from fedward.common.result import Result
from fedward.server.evaluate import Examiner
from fedward.server.rounds import Surroundings, conduct, reason_of
from fedward.server.run_directory import RunDirectory
from fedward.sims import engine
from fedward.sims.chronicle import SimulationChronicle
from fedward.sims.folders import check_same_data, claim_new, default_folder, locked, study_to_resume
from fedward.sims.ledgers import create_ledgers, kept_open
from fedward.sims.progress import tell_plainly
from fedward.sims.run import Run
from fedward.sims.sites import (
    STUDY_VARIABLE,
    Consortium,
    client_app,
    consortium,
    study_of,
)
from fedward.sims.sources import cache_folder
from fedward.sims.studies import check_weights
from fedward.sims.template import RUN_VARIABLE, template

__all__ = ["client_app", "server_app"]  # where Flower looks for them

POLL_S = 0.002
PATIENCE_S = 120.0  # the template process deals all faces before it answers
LOADED_AT = time.monotonic()


def simulate_on(grid: Grid, run: Run) -> Result:
    """Conduct a run on Flower's grid, and write everything down.

    Raises:
        FedwardError: why it could not be finished; the run directory is valid and says so.
    """
    with run.data_time:
        dealt = consortium(run.study)
    directory = RunDirectory(run.folder)
    check_same_data(run.folder, dealt.data.sha256)
    chronicle = SimulationChronicle(dealt, directory, run.began, run.data_time, run.tell)
    chronicle.write_config()
    around = Surroundings(POLL_S, PATIENCE_S, run.stopped, engine.busy_s)
    try:
        create_ledgers(run.study, {h.name: h.declared for h in dealt.hospitals}, run.folder)
        with run.data_time:
            examiner = _examiner(dealt)
        try:
            with kept_open(run.folder):
                conduct(grid, run.study, examiner, directory, chronicle, around)
        finally:
            template.stop()  # Flower would wait for hospitals that are still at work
        chronicle.add_baselines(run.stopped)
        return chronicle.completed()
    except BaseException as error:
        with suppress(RunError):  # a full disk: the last whole result.json stays
            chronicle.stopped("interrupted" if run.stopped() else "failed", reason_of(error))
        raise


def _examiner(dealt: Consortium) -> Examiner:
    study = dealt.study
    cache = cache_folder() / "features"
    return Examiner(study.training.model, dealt.test_name, dealt.examined, cache)


engine.install()
server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """What `flwr run .` starts; its run configuration names recipe, overrides, out and resume."""
    resume = str(context.run_config.get("resume", ""))
    study = study_to_resume(Path(resume)) if resume else study_of(context)
    os.environ[STUDY_VARIABLE] = study.model_dump_json()  # for Ray's processes
    workers = int(context.run_config.get("workers", 0))
    if workers:
        os.environ[engine.WORKERS_VARIABLE] = str(workers)
    out = str(context.run_config.get("out", ""))
    folder = Path(resume or out or default_folder(study.name))
    check_weights(study)
    if not resume:
        claim_new(folder)
    os.environ[RUN_VARIABLE] = str(folder.absolute())
    run = Run(study, folder, LOADED_AT, tell_plainly, lambda: False)
    with locked(folder):
        with run.data_time:
            consortium(study)  # parsed once, before others need it
        template.deal(study.model_dump_json(), folder)
        simulate_on(grid, run)
    print(f"report: {RunDirectory(folder).report}", file=sys.stderr, flush=True)
