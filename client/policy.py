"""What a hospital allows: privacy.yaml, written by its data-protection officer.

The signed copy in the ledger (client/ledger.py) counts, not the file: a file edited later changes
nothing until the officer signs it again with `fedward budget amend`.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fedward.common.config import Count, Frozen, Positive, Unit
from fedward.common.documents import read_document

NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._:@/+-]{0,99}$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
# With less noise one step alone can be worth an epsilon of 75, and accounting takes gigabytes.
LEAST_NOISE = 0.1
# Use everybody but those who said no, or those alone who said yes (client/consent.py).
ConsentMode = Literal["opt-out", "opt-in"]


class StudyShares(Frozen):
    """How much of the total one study may take: ``studies`` by name, ``default`` for all others.

    A default of None is the whole total; 0 admits the named studies alone.
    """

    default: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    studies: dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict
    )


class Policy(Frozen):
    """One hospital's privacy budget and its conditions.

    Attributes:
        unit: whose presence is hidden: one patient with all their images, or one image.
        patients: how many patients the hospital declares; public, and no secret is derived from it.
        delta: of (epsilon, delta), below 1/patients; by default 1/(10 * patients).
        epsilon_total: of everything that ever leaves, over all studies, runs and models.
        epsilon_per_study: what one study may take of it.
        valid_from, valid_until: first and last day (UTC) on which budget may be reserved.
        minimum_noise_multiplier: of every single step.
        minimum_patients: a round that draws from fewer (declared) patients is refused.
        may_leave: kinds of private values that may leave, each through a charged mechanism:
            "update" (how a model changed), "statistics" (means of features), "metrics" (counts
            of right answers). Nothing else leaves but declared public values.
    """

    unit: Unit
    patients: Count
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    epsilon_total: Positive
    epsilon_per_study: StudyShares = StudyShares()
    valid_from: date
    valid_until: date
    minimum_noise_multiplier: Annotated[float, Field(ge=LEAST_NOISE, allow_inf_nan=False)] = 0.5
    minimum_patients: Count = 1
    may_leave: tuple[Literal["update", "statistics", "metrics"], ...] = ("update",)

    @model_validator(mode="before")
    @classmethod
    def _default_delta(cls, document: Any) -> Any:
        patients = document.get("patients") if isinstance(document, dict) else None
        if isinstance(patients, int) and patients > 0 and document.get("delta") is None:
            return {**document, "delta": 1 / (10 * patients)}
        return document

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        shares = self.epsilon_per_study
        if self.delta >= 1 / self.patients:
            raise ValueError(
                f"delta {self.delta} must be below 1/patients ({1 / self.patients:.3g}): "
                "leave it out for 1/(10 * patients)"
            )
        if max([shares.default or 0, *shares.studies.values()]) > self.epsilon_total:
            raise ValueError("epsilon_per_study: no study can take more than epsilon_total")
        if self.valid_until < self.valid_from:
            raise ValueError("valid_until is before valid_from: exchange them")
        if self.patients < self.minimum_patients:
            raise ValueError("patients is below minimum_patients: no round could ever be allowed")
        return self

    def share(self, study: str) -> float:
        """The most epsilon that a study may take."""
        default = self.epsilon_per_study.default
        whole = self.epsilon_total if default is None else default
        return self.epsilon_per_study.studies.get(study, whole)


def read_policy(path: Path) -> Policy:
    """The policy in a YAML or JSON file. Raises ConfigError when it is not one."""
    return read_document(path, Policy, name="policy", keys="unit, patients, epsilon_total")
