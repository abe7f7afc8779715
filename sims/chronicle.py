"""Writes a simulated run down: result.json as it goes, model, figures and report at its end.

Only a simulator knows who has what and how every hospital scores; a deployment's report is told by
the hospitals themselves, through their own mechanisms.
"""

import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from fedward import __version__
from fedward.common.arrays import save_arrays
from fedward.common.faces import EMOTIONS
from fedward.common.metrics import score
from fedward.common.models import is_linear, spec_of
from fedward.common.noise import NoisePlan
from fedward.common.result import (
    Baselines,
    DataPart,
    HospitalPart,
    Mechanism,
    Result,
    RoundPart,
    TestPart,
    TotalSeconds,
)
from fedward.server.aggregate import ServerState
from fedward.server.evaluate import Evaluation
from fedward.server.run_directory import RunDirectory, write_json
from fedward.server.strategy import Member
from fedward.sims.baselines import run_baselines
from fedward.sims.describe import skew
from fedward.sims.engine import worker_count
from fedward.sims.mechanism import describe_mechanism
from fedward.sims.partition import Hospital, units_in
from fedward.sims.sites import Consortium
from fedward.sims.stopwatch import Stopwatch

NOTHING_SPENT = TotalSeconds.model_validate(dict.fromkeys(TotalSeconds.model_fields, 0.0))
Status = Literal["running", "completed", "failed", "interrupted"]


class SimulationChronicle:
    """Keeps result.json of a simulated run.

    Args:
        dealt: the hospitals and their data.
        directory: where to write.
        began: monotonic time of the command.
        data_time: has the seconds spent on data before the first order.
        tell: called with a line-worthy round, for progress.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        dealt: Consortium,
        directory: RunDirectory,
        began: float,
        data_time: Stopwatch,
        tell: Callable[[RoundPart, int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dealt = dealt
        self._directory = directory
        self._began = began
        self._data_time = data_time
        self._clock = clock
        self._tell = tell
        self._startup = 0.0
        self._members: Mapping[str, Member] = {}
        self._rounds: list[RoundPart] = []
        self.baselines = Baselines()
        self._evaluation: Evaluation | None = None
        self._measured: Mapping[str, float | None] = {}
        interrupted = directory.read_result()  # what was spent before a --resume
        self._spent = interrupted.seconds if interrupted else NOTHING_SPENT

    def write_config(self) -> None:
        """config.json: everything resolved."""
        write_json(
            self._directory.config,
            {
                "fedward_version": __version__,
                "data_sha256": self._dealt.data.sha256,
                "study": self._dealt.study.model_dump(mode="json"),
            },
        )

    def began(self, members: Mapping[str, Member], rounds: list[RoundPart]) -> None:
        """All hospitals are known: the first result.json can be written."""
        self._members, self._rounds = members, rounds
        self._startup = self._clock() - self._began - self._data_time.seconds
        self._write("running")

    def round_done(self, rounds: list[RoundPart], state: ServerState) -> None:
        """Rewrite result.json with one more round."""
        self._rounds = rounds
        self._write("running")
        self._tell(rounds[-1], self._dealt.study.rounds.count)

    def ended(
        self,
        evaluation: Evaluation,
        rounds: list[RoundPart],
        state: ServerState,
        measured: Mapping[str, float | None],
    ) -> None:
        """The released model and its scores are final."""
        self._rounds, self._evaluation, self._measured = rounds, evaluation, measured
        save_arrays(self._directory.model, state.released())
        write_json(self._directory.model_card, self._card(evaluation.test))

    def add_baselines(self, stopped: Callable[[], bool]) -> None:
        """Train the baselines that the study asks for, beside the same test split."""
        self.baselines = run_baselines(self._dealt, worker_count(), stopped)

    def completed(self) -> Result:
        """Everything is there: write result.json, figures and report. Returns the result."""
        from fedward.sims.pictures import draw  # brings matplotlib: seconds, at the end of a run

        assert self._evaluation is not None  # ``ended`` came before
        draw(self._result("completed"), self._dealt, self._evaluation, self._directory)
        result = self._write("completed")  # last, so that what a resumed run finds it completes
        self._directory.drop_checkpoint()
        return result

    def stopped(self, status: Status, reason: str) -> None:
        """The run ends early; what there is stays valid and can be resumed."""
        self._write(status, reason)

    def _write(self, status: Status, reason: str | None = None) -> Result:
        result = self._result(status, reason)
        self._directory.write_result(result)
        return result

    def _result(self, status: Status, reason: str | None = None) -> Result:
        dealt = self._dealt
        counts = dealt.label_counts()
        return Result(
            fedward_version=__version__,
            status=status,
            reason=reason,
            seed=dealt.study.seed,
            recipe=dealt.study.model_dump(mode="json"),
            data=self._data(),
            hospitals=[self._hospital(hospital, status) for hospital in dealt.hospitals],
            skew=skew(counts),
            privacy=self._mechanism(),
            rounds=self._rounds,
            test=self._evaluation.test if self._evaluation else None,
            baselines=self.baselines,
            seconds=self._seconds(),
        )

    def _data(self) -> DataPart:
        data = self._dealt.data
        return DataPart(
            source=data.source,
            sha256=data.sha256,
            training=sum(len(h.training) for h in self._dealt.hospitals),
            test=len(self._dealt.test),
            duplicates_removed=data.curation.duplicates_removed,
            conflicting_labels=data.curation.conflicting_labels,
        )

    def _hospital(self, hospital: Hospital, status: Status) -> HospitalPart:
        study = self._dealt.study
        plan = self._plan(hospital.name)
        done = [part.round for part in self._rounds if hospital.name in asked(part)]
        charged = list(range(1, study.rounds.count + 1)) if status == "running" else done
        counted = status == "running" or hospital.name in self._measured
        accuracy, macro_f1 = self._own_scores(hospital)
        delta = study.privacy.delta_at(hospital.declared) if study.privacy else None
        epsilon = plan.epsilon(charged, delta=delta, measured=counted) if plan and delta else None
        labels = self._dealt.data.training.labels[hospital.training]
        return HospitalPart(
            name=hospital.name,
            examples=len(hospital.training),
            patients=units_in(self._dealt.data.training.patients[hospital.training], "patient"),
            label_counts=np.bincount(labels, minlength=len(EMOTIONS)).tolist(),
            camera=hospital.camera,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=plan.step if plan else None,
            steps=self._steps(hospital, plan, done),
            accuracy=accuracy,
            macro_f1=macro_f1,
            measured_accuracy=self._measured.get(hospital.name),
        )

    def _plan(self, name: str) -> NoisePlan | None:
        member = self._members.get(name)
        return member.noise if member else None

    def _steps(self, hospital: Hospital, plan: NoisePlan | None, done: list[int]) -> int:
        if plan is not None:
            return sum(event.steps for event in plan.events(done))
        training = self._dealt.study.training
        whole = training.batch_size == 0 or is_linear(training.model)
        batch = len(hospital.training) if whole else training.batch_size
        return len(done) * training.epochs * -(-len(hospital.training) // batch)

    def _own_scores(self, hospital: Hospital) -> tuple[float | None, float | None]:
        if self._evaluation is None or len(hospital.test) == 0:
            return None, None
        predicted = self._evaluation.probabilities[hospital.test].argmax(axis=1)
        own = score("own", self._dealt.examined.labels[hospital.test], predicted)
        return own.accuracy, own.macro_f1

    def _mechanism(self) -> Mechanism | None:
        study = self._dealt.study
        if study.privacy is None:
            return None
        return describe_mechanism(study, next(iter(self._members.values()), None))

    def _seconds(self) -> TotalSeconds:
        parts = [part.seconds for part in self._rounds]
        return TotalSeconds(
            total=self._clock() - self._began + self._spent.total,
            data=self._data_time.seconds + self._spent.data,
            train=sum(part.train for part in parts),
            aggregate=sum(part.aggregate for part in parts),
            evaluate=sum(part.evaluate for part in parts),
            engine=sum(part.engine for part in parts),
            startup=self._startup + self._spent.startup,
        )

    def _card(self, test: TestPart) -> dict[str, object]:
        study = self._dealt.study
        return {
            "fedward_version": __version__,
            "model": study.training.model,
            "summary": spec_of(study.training.model).summary,
            "emotions": list(EMOTIONS),
            "input": "48x48 grey levels, 0 to 255; standardised per image by Fedward",
            "trained_on": self._dealt.data.source,
            "data_sha256": self._dealt.data.sha256,
            "study": study.model_dump(mode="json"),
            "test": test.model_dump(mode="json"),
        }


def asked(part: RoundPart) -> set[str]:
    """The hospitals that a round cost something: a refused update has left its hospital too."""
    return set(part.participants) | {
        refusal.hospital for refusal in part.refused if not refusal.by_hospital
    }
