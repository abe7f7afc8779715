"""How many more rounds of a study fit in what a ledger has left. Asking charges nothing.

Rounds are counted from the first of a run, so a linear model pays for its statistics again. What
is charged already, spent or reserved, composes with them, at the ledger's own delta.
"""

from datetime import date

from fedward.client.budget import Standing, against_policy, epsilon_at
from fedward.client.ledger_book import Book, charged, merged
from fedward.client.ledger_entries import Events, Request
from fedward.common.config import Frozen, Study
from fedward.common.noise import NoisePlan, most_rounds


class RoundsLeft(Frozen):
    """What a ledger has room for.

    Attributes:
        study: whose share is looked at.
        planned: rounds that the study takes.
        in_total: how many of a new run fit in what is left of the whole budget.
        in_share: ... in what is left of the study's share of it.
        delta: of the ledger, at which both are counted.
        refusal: why the policy forbids every such round; None when it does not.
    """

    study: str
    planned: int
    in_total: int
    in_share: int
    delta: float
    refusal: str | None

    @property
    def fit(self) -> int:
        """Rounds that the ledger would let pass."""
        return min(self.in_total, self.in_share)


class StandingWithRoom(Standing):
    """What `fedward budget show --recipe --json` prints."""

    rounds_left: RoundsLeft


def rounds_that_fit(book: Book, plan: NoisePlan, study: str) -> tuple[int, int]:
    """How many rounds of a new run fit in the total, and in a study's share (common/noise.py's
    MOST_ROUNDS stands for any more). The policy's other conditions are not looked at.

    Args:
        book: what is charged, and the limits.
        plan: what a round adds.
        study: its name in the ledger.
    """
    policy = book.policy
    total = _fit(charged(book), plan, limit=policy.epsilon_total, delta=policy.delta)
    share = _fit(charged(book, study), plan, limit=policy.share(study), delta=policy.delta)
    return total, share


def _fit(before: Events, plan: NoisePlan, *, limit: float, delta: float) -> int:
    def within(count: int) -> bool:
        events = plan.events(list(range(1, count + 1)))
        return epsilon_at(merged([*before, *events]), delta) <= limit

    return most_rounds(within)


def rounds_left(book: Book, plan: NoisePlan, study: Study, *, size: int, today: date) -> RoundsLeft:
    """What a ledger has room for, by its policy and its budget.

    Args:
        book: what is charged, and the policy.
        plan: what a round adds.
        study: what is trained.
        size: the hospital's public number of units.
        today: by the hospital's clock, UTC.

    Raises:
        ConfigError: the study's name is none that a ledger takes.
    """
    request = Request(
        study=study.name,
        run="plan",
        round=1,
        model=study.training.model,
        unit=study.unit,
        patients=size,
        events=tuple(plan.events([1, 2])),
    )
    forbidden = against_policy(book.policy, request, today)
    total, share = (0, 0) if forbidden else rounds_that_fit(book, plan, study.name)
    return RoundsLeft(
        study=study.name,
        planned=study.rounds.count,
        in_total=total,
        in_share=share,
        delta=book.policy.delta,
        refusal=forbidden.message if forbidden else None,
    )
