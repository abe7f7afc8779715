"""The full description of a study: frozen, validated, and the same for simulation and deployment.

A recipe (sims/recipes.py) is a function that returns a Study; the command line overrides a few
values; what comes out is written to RUN/config.json. An unknown key is an error that names the
nearest known one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from fedward.common.errors import ConfigError
from fedward.common.validated import validated

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
ModelName = Literal[
    "thesis-cnn",
    "compact-cnn",
    "thesis-lstm",
    "lstm",
    "cnn-lstm",
    "scatter",
    "scatter-cnn",
    "pretrained",
    "vgg16",
]
Unit = Literal["image", "patient"]
Randomness = Literal["secure", "seeded"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._:@/+-]{0,99}$"  # what ledgers take as a study, a run or a model
Name = Annotated[str, StringConstraints(pattern=NAME)]
MOST_DELTA = 1e-5  # where a study states none
RECORDS_PER_PATIENT = 4
MOST_RECORDS_PER_PATIENT = 64  # a patient is never split over the parts of a step (common/train.py)
TAKES_SMALL_FACES = frozenset({"thesis-cnn", "compact-cnn"})
NOT_AUGMENTED = frozenset({"scatter-cnn"})  # it reads features, which are computed once
STARTS_FROM_DRAWINGS = frozenset({"compact-cnn", "cnn-lstm", "lstm"})


class Frozen(BaseModel):
    """Base of all configuration: immutable, and no key is ever ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Frozen):
    """Which faces: ``source`` is "synthetic" or a path; ``test_split`` is what scores models, where
    "all" is PublicTest and PrivateTest together, and "validation" a fixed fifth of Training's
    patients, which nobody trains on then (common/validation.py)."""

    source: str = "synthetic"
    test_split: Literal["PublicTest", "PrivateTest", "all", "validation"] = "PublicTest"
    synthetic_patients: Count = 800
    synthetic_images_per_patient: Count = 5


class HospitalsConfig(Frozen):
    """How the faces are dealt to hospitals.

    Attributes:
        count: number of hospitals.
        alpha: Dirichlet concentration of labels per class over hospitals; None deals evenly.
        size_sigma: spread of log-normal hospital sizes; 0 makes all sizes equal.
        cameras: one named camera per hospital, repeated cyclically (sims/cameras.py).
        images_each: at most so many training images per hospital; None keeps all.
        budgets: epsilon_total of hospitals whose privacy budget is not the study's, by name
            ("hospital-03"); what does not fit, such a hospital refuses.
        consent: what the hospitals' policies ask for (client/policy.py); the lists are CSV files,
            one per hospital, which the simulation is given.
    """

    count: Count = 5
    alpha: Positive | None = 0.5
    size_sigma: Annotated[float, Field(ge=0, le=3)] = 0.6
    cameras: tuple[str, ...] = ("clean",)
    images_each: Count | None = None
    budgets: tuple[tuple[str, Positive], ...] = ()
    consent: Literal["none", "opt-out", "opt-in"] = "none"

    @field_validator("budgets", mode="before")
    @classmethod
    def _by_name(cls, budgets: Any) -> Any:
        """A mapping is how people write it; pairs can be hashed, as all of a study can."""
        return tuple(budgets.items()) if isinstance(budgets, dict) else budgets


class TrainingConfig(Frozen):
    """What one hospital does in one round.

    Attributes:
        model: a name of the registry (common/models.py).
        start: "random" weights, or for compact-cnn, cnn-lstm and lstm "drawings": the first layers
            as they were taught on drawn faces (common/taught.py), which costs no privacy.
        epochs: passes over the hospital's images per round (Poisson-sampled if private), or over
            its patients where the unit of privacy is the patient.
        batch_size: images per step; under privacy the expected number, of patients where the unit
            is the patient. 0 is the full batch, which is what a linear head on fixed features
            (scatter, pretrained, vgg16) takes in any case.
        optimizer: "adamw" or "sgd" (with ``momentum``); its state is fresh every round.
        learning_rate: at the peak of the schedule.
        schedule: "constant" or "cosine", over all rounds and constant within one.
        warmup: fraction of all rounds over which the rate rises linearly from a tenth.
        weight_decay: decoupled, on tensors with two or more dimensions.
        label_smoothing: as in Szegedy et al. 2016.
        calibrate: add the log of a hospital's own label frequencies to its logits in training,
            against label skew; not under privacy, since the frequencies are private.
        augment: random flip, shift, rotation and scale of every image.
        low_resolution: fraction of all rounds trained at 36x36 pixels (a cheaper start).
    """

    model: ModelName = "compact-cnn"
    start: Literal["random", "drawings"] = "random"
    epochs: Count = 1
    batch_size: Annotated[int, Field(ge=0)] = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    calibrate: bool = False
    augment: bool = False
    low_resolution: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.start == "drawings" and self.model not in STARTS_FROM_DRAWINGS:
            fit = ", ".join(sorted(STARTS_FROM_DRAWINGS))
            raise ValueError(f"only {fit} can start from drawings: set start to random")
        return self

    @model_validator(mode="after")
    def _low_resolution_fits(self) -> Self:
        if self.low_resolution > 0 and self.model not in TAKES_SMALL_FACES:
            raise ValueError(f"{self.model} reads 48x48 faces only: set low_resolution to 0")
        return self

    @model_validator(mode="after")
    def _views_fit(self) -> Self:
        if self.augment and self.model in NOT_AUGMENTED:
            raise ValueError(f"{self.model} reads features, not pixels: set augment to false")
        return self


class PrivacyConfig(Frozen):
    """Differential privacy at every hospital. Exactly one of epsilon and noise_multiplier is given.

    Attributes:
        epsilon: the target for the whole run, per hospital.
        noise_multiplier: noise standard deviation per clipping norm, of every training step.
        delta: of (epsilon, delta). Left out, it is a tenth of one in a hospital's units, and at
            most 1e-5; stated, a hospital with 1 / delta units or more is refused.
        clipping_norm: L2 bound of what one unit adds to the sum of a step.
        statistics_share: part of mu^2 (Gaussian differential privacy) that feature statistics
            take in a model on fixed features, beside the training steps of all rounds.
        metrics_noise_multiplier: with it, every hospital counts the released model's right answers
            on its own images after the last round, and sends the counts with this much noise; that
            is charged beside the target. Without it, nobody asks.
        unit: whom the guarantee is about: one image, or one patient with all images. Of
            pixel-identical images one is kept, at one patient (common/curate.py).
        records_per_patient: of a patient, at most so many images enter a step, drawn afresh for
            every step, and their mean gradient is clipped; for unit patient alone.
    """

    epsilon: Positive | None = None
    noise_multiplier: Positive | None = None
    delta: Annotated[float, Field(gt=0, lt=0.1)] | None = None
    clipping_norm: Positive = 1.0
    statistics_share: Fraction = 0.04
    metrics_noise_multiplier: Positive | None = None
    unit: Unit = "image"
    records_per_patient: Annotated[int, Field(ge=1, le=MOST_RECORDS_PER_PATIENT)] = (
        RECORDS_PER_PATIENT
    )

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give exactly one of epsilon and noise_multiplier")
        return self

    @model_validator(mode="after")
    def _records_fit_the_unit(self) -> Self:
        if self.unit == "image" and self.records_per_patient != RECORDS_PER_PATIENT:
            raise ValueError(
                "records_per_patient is for unit patient: set unit to patient, or leave it out"
            )
        return self

    @property
    def patient_records(self) -> int | None:
        """Images of a patient that enter a step; None where every image is a unit of its own."""
        return self.records_per_patient if self.unit == "patient" else None

    def delta_at(self, size: int) -> float:
        """Delta at a hospital of this public size: as stated, or a tenth of one in its units, and
        at most 1e-5."""
        return min(MOST_DELTA, 0.1 / size) if self.delta is None else self.delta

    def check_size(self, size: int) -> None:
        """Refuse a hospital of so many units that delta is no longer below one in them: a
        mechanism that publishes one unit's records, drawn at random, would pass (Dwork & Roth
        2014, section 2.3).

        Raises:
            ConfigError: with the cure.
        """
        if self.delta is not None and self.delta * size >= 1:
            raise ConfigError(
                f"privacy.delta is {self.delta:g}, which is not below one in the {size:,} "
                f"{self.unit}s of a hospital: leave it out, or set it to {0.1 / size:.0e} or less"
            )


class RoundsConfig(Frozen):
    """Federated averaging (McMahan et al. 2017) with a server optimiser (Reddi et al. 2021).

    Attributes:
        count: rounds of training.
        participation: fraction of hospitals asked in a round.
        quorum: fraction of the asked whose good updates a round needs; fewer fail the run.
        server_learning_rate, server_momentum: Nesterov momentum on the mean update.
        server_schedule: "constant" or "cosine" (from the full rate to zero over all rounds).
        average_from: fraction of all rounds after which the model that is scored and released is
            the running mean of the rounds' models; 1 switches it off.
        timeout_s: how long a round waits for replies.
    """

    count: Count = 5
    participation: Fraction = 1.0
    quorum: Fraction = 0.5
    server_learning_rate: Positive = 1.0
    server_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    server_schedule: Literal["constant", "cosine"] = "constant"
    average_from: Annotated[float, Field(ge=0, le=1)] = 1.0
    timeout_s: Positive = 3600.0


class Study(Frozen):
    """Everything that decides a run's numbers. Workers, engine and paths are not part of it."""

    name: Name
    seed: int = 0
    data: DataConfig = DataConfig()
    hospitals: HospitalsConfig = HospitalsConfig()
    training: TrainingConfig = TrainingConfig()
    privacy: PrivacyConfig | None = None
    rounds: RoundsConfig = RoundsConfig()
    baselines: Literal["none", "pooled", "all"] = "none"

    @property
    def unit(self) -> Unit:
        """What hospitals' public sizes count: the units of privacy; images where there is none."""
        return self.privacy.unit if self.privacy else "image"

    @model_validator(mode="after")
    def _private_means_private(self) -> Self:
        if self.privacy is not None and self.training.calibrate:
            raise ValueError("training.calibrate uses private label frequencies: set it to false")
        return self


def parse_study(document: Mapping[str, Any]) -> Study:
    """Validate a document (RUN/config.json, a file of the user's) as a Study.

    Raises:
        ConfigError: naming every wrong key or value, and the cure.
    """
    return validated(Study, document, name="study")
