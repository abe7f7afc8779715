"""What federation is compared with: training on everybody's images, and every hospital alone.

A baseline is a federation of one: the same orders, the same local training, the same server step
and the same privacy as the study, without Flower. Each runs in a process of its own,
``python -m fedward.sims.baselines STUDY.json NAME``, which prints its score as JSON.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from fedward import __version__
from fedward.client.local import carry_out
from fedward.client.site import Site
from fedward.common.config import Study
from fedward.common.errors import RunError, StoppedError
from fedward.common.messages import Hello, Order, Update
from fedward.common.noise import plan_noise
from fedward.common.result import Baselines, Score
from fedward.server.aggregate import ServerState
from fedward.server.evaluate import Examiner, initial_arrays
from fedward.server.strategy import Member, advance, order_for
from fedward.sims.sites import Consortium, consortium
from fedward.sims.sources import cache_folder

POOLED = "pooled"


@dataclass(frozen=True)
class RoundAlone:
    """One round at one site: what it was asked, what it sent, and the state after the server's
    step."""

    order: Order
    update: Update
    state: ServerState


def rounds_alone(
    study: Study, site: Site, change: Callable[[Order], Order] | None = None
) -> Iterator[RoundAlone]:
    """A whole study at one site, round by round; ``change`` gets at every order beforehand."""
    member = Member(Hello(site.name, site.size, __version__), plan_noise(study, site.size))
    state = ServerState(0, initial_arrays(study.training, study.seed))
    for number in range(1, study.rounds.count + 1):
        order = order_for(study, state, member, number)
        order = change(order) if change else order
        update = carry_out(order, site)
        state = advance(study, state, number, update.arrays)
        yield RoundAlone(order, update, state)


def train_alone(study: Study, site: Site) -> ServerState:
    """A whole study at one site, to its end."""
    for played in rounds_alone(study, site):
        state = played.state
    return state


def score_baseline(study: Study, name: str) -> Score:
    """Train and score one baseline in this process, on the study's whole test split."""
    began = time.monotonic()
    dealt = consortium(study)
    names = [hospital.name for hospital in dealt.hospitals]
    site = dealt.pooled() if name == POOLED else dealt.site(names.index(name))
    state = train_alone(study, site)
    cache = cache_folder() / "features"
    examiner = Examiner(study.training.model, dealt.test_name, dealt.examined, cache)
    test = examiner.score(state.released()).test
    return Score(accuracy=test.accuracy, macro_f1=test.macro_f1, seconds=time.monotonic() - began)


def run_baselines(dealt: Consortium, workers: int, stopped: Callable[[], bool]) -> Baselines:
    """All baselines that the study asks for, ``workers`` at a time.

    Raises:
        RunError: when one fails, or the user stops the run.
    """
    wanted = dealt.study.baselines
    if wanted == "none":
        return Baselines()
    names = [POOLED] + ([h.name for h in dealt.hospitals] if wanted == "all" else [])
    threads = max(1, workers // len(names))
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "study.json"
        document.write_text(dealt.study.model_dump_json(), encoding="utf-8")

        def run(name: str) -> Score:
            return _in_process(document, name, threads, stopped)

        with ThreadPoolExecutor(workers) as pool:
            scores = dict(zip(names, pool.map(run, names), strict=True))
    return Baselines(pooled=scores.pop(POOLED), alone=scores)


def _in_process(document: Path, name: str, threads: int, stopped: Callable[[], bool]) -> Score:
    if stopped():
        raise StoppedError
    process = subprocess.Popen(
        [sys.executable, "-m", "fedward.sims.baselines", str(document), name],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        text=True,
    )
    while True:
        try:
            printed, _ = process.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            if stopped():
                process.kill()
            continue
        if process.returncode != 0:
            if stopped():
                raise StoppedError
            raise RunError(f"baseline {name} failed; its error is above")
        return Score.model_validate_json(printed)


def main(document: str, name: str) -> None:
    """Train one baseline and print its score."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    study = Study.model_validate_json(Path(document).read_text(encoding="utf-8"))
    print(score_baseline(study, name).model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
