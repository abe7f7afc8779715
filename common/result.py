"""The contract of RUN/result.json, as types. ``fedward schema`` prints it as a JSON Schema.

Accuracies are fractions, seconds are seconds, the class order is FER-2013's code order.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Row = Annotated[list[int], Field(min_length=7, max_length=7)]


class Part(BaseModel):
    """Base of all parts: frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataPart(Part):
    """Which data, and what was left out of it."""

    source: str
    sha256: str
    training: int
    test: int
    duplicates_removed: int
    conflicting_labels: int


class HospitalPart(Part):
    """One hospital. Counts and camera are known because it is a simulation.

    ``epsilon`` is charged before it is spent: while the run goes on it is that of all planned
    rounds, afterwards that of the rounds for which the hospital was asked. ``accuracy`` and
    ``macro_f1`` are the final model's on the hospital's own test images, None until the run ends,
    or where it has none. ``measured_accuracy`` is what the hospital itself tells of the final model
    on its training images, by noisy counts, where the study asks. ``examples`` are training images
    and ``patients`` who is on them; None in results from before they were counted.
    """

    name: str
    examples: int
    patients: int | None = None
    label_counts: Row
    camera: str
    epsilon: float | None
    delta: float | None
    noise_multiplier: float | None
    steps: int
    accuracy: Share | None
    macro_f1: Share | None
    measured_accuracy: Share | None = None

    def units(self, unit: str) -> int:
        """Records of the guarantee here: patients, or images where they are the unit."""
        return self.patients if unit == "patient" and self.patients is not None else self.examples


class RoundSeconds(Part):
    """Where the wall-clock time of a round went. ``engine`` is what no hospital and no part of the
    aggregator was working in: dispatch, transport, polling."""

    train: Seconds
    aggregate: Seconds
    evaluate: Seconds
    engine: Seconds


class Refusal(Part):
    """A hospital whose update did not enter the round, and why.

    ``by_hospital``: it refused the order by itself, before it read data; nothing left it, and
    nothing was charged.
    """

    hospital: str
    reason: str
    by_hospital: bool = False


class RoundPart(Part):
    """One finished round; accuracy, macro-F1 and loss are the global model's on the test split."""

    round: int
    accuracy: Share
    macro_f1: Share
    loss: float
    participants: list[str]
    refused: list[Refusal]
    seconds: RoundSeconds


class ClassPart(Part):
    """Scores of one emotion."""

    precision: Share
    recall: Share
    f1: Share
    support: int


class TestPart(Part):
    """The released model on a test split; ``confusion[true][predicted]`` are counts."""

    split: str
    accuracy: Share
    macro_f1: Share
    per_class: dict[str, ClassPart]
    confusion: Annotated[list[Row], Field(min_length=7, max_length=7)]


class Score(Part):
    """Accuracy and macro-F1 of a baseline on the whole test split, with what it cost.

    A baseline is trained with the study's own privacy, or without where the study has none.
    """

    accuracy: Share
    macro_f1: Share
    seconds: Seconds


class Baselines(Part):
    """Pooled training, and each hospital alone."""

    pooled: Score | None = None
    alone: dict[str, Score] = {}


class TotalSeconds(Part):
    """Wall-clock time of the run. ``data`` is reading, curating and dealing faces and computing
    what the model reads of the test set; ``startup`` is all else before the first order. All count
    every command of a run that was interrupted and resumed."""

    total: Seconds
    data: Seconds
    train: Seconds
    aggregate: Seconds
    evaluate: Seconds
    engine: Seconds
    startup: Seconds


class Mechanism(Part):
    """How the epsilons came about, for a data-protection officer.

    Attributes:
        unit: what adding or removing one means ("image" or "patient").
        mechanism: e.g. "Gaussian, full batch" or "Poisson-subsampled Gaussian (DP-SGD)".
        accountant: which accountant gave epsilon.
        noise_source: where the noise came from, and whether it is fit for a release.
        assumptions: plain sentences.
    """

    unit: str
    mechanism: str
    accountant: str
    clipping_norm: float
    noise_source: str
    assumptions: list[str]


class Skew(Part):
    """How unequal the hospitals are: Hellinger distance of label distributions, Gini of sizes."""

    hellinger_mean: Share
    hellinger_max: Share
    size_gini: Share


class Result(Part):
    """All of result.json."""

    schema_version: Literal[1] = 1
    fedward_version: str
    status: Literal["running", "completed", "failed", "interrupted"]
    reason: str | None = None
    seed: int
    recipe: dict[str, Any]
    data: DataPart
    hospitals: list[HospitalPart]
    skew: Skew
    privacy: Mechanism | None
    rounds: list[RoundPart]
    test: TestPart | None
    baselines: Baselines
    seconds: TotalSeconds
