"""The contract of OUT/audit.json, as types."""

from typing import Annotated, Literal

from pydantic import Field

from fedward.common.config import Unit
from fedward.common.result import Part, Share

Epsilon = Annotated[float, Field(ge=0)]


class AuditRow(Part):
    """One study, audited once.

    Attributes:
        recipe: name of the study.
        fedward_version: what it was run with.
        seed: of the study and of the audit.
        broken: how the mechanism was broken on purpose; None for the sound one.
        hospital: who was audited.
        unit: whose presence the claim is about.
        size: the hospital's public size with half of the canaries, in units; the claim and its
            noise are for this size.
        canaries: crafted patients, each in the data by a fair coin.
        records_per_canary: images of each of them.
        guesses: coins that the attacker guessed, a fixed part of them.
        right: how many of these guesses were right.
        epsilon_claimed: what the plan of noise says for all rounds, at this ``delta``.
        delta: of (epsilon, delta).
        confidence: of each of the two lower bounds by itself.
        epsilon_lower_bound: from (epsilon, delta) alone (Steinke, Nasr & Jagielski 2023).
        epsilon_lower_bound_curve: from delta at every epsilon, for the claimed mechanism with less
            noise (after Mahloujifar, Melis & Chaudhuri 2025).
        epsilon_lower_bound_most: what ``epsilon_lower_bound`` had been if every guess were right.
        passes: whether both bounds are below the claim.
        attack_auc: of telling the hospital's images from held-out ones by the released model's
            loss; 0.5 is guessing. With where 95 % of bootstrap resamples lie.
        attack_tpr_at_1_fpr: part of its images that is found so at 1 % false alarms.
        canary_auc, canary_tpr_at_1_fpr: the same for canaries that were in and that were not.
    """

    recipe: str
    fedward_version: str
    seed: int
    broken: Literal["no-noise", "no-clipping", "records-for-patients"] | None
    hospital: str
    unit: Unit
    size: int
    canaries: int
    records_per_canary: int
    guesses: int
    right: int
    epsilon_claimed: Epsilon
    delta: Epsilon
    confidence: Share
    epsilon_lower_bound: Epsilon
    epsilon_lower_bound_curve: Epsilon
    epsilon_lower_bound_most: Epsilon
    passes: bool
    attack_auc: Share
    attack_auc_interval: tuple[Share, Share]
    attack_tpr_at_1_fpr: Share
    attack_tpr_interval: tuple[Share, Share]
    canary_auc: Share
    canary_tpr_at_1_fpr: Share


class AuditReport(Part):
    """All of audit.json."""

    schema_version: Literal[1] = 1
    rows: list[AuditRow]

    @property
    def passes(self) -> bool:
        """Whether no claim was refuted."""
        return all(row.passes for row in self.rows)
