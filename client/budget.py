"""May this round read data? The rules of a hospital's budget, and what is spent in numbers.

A request fits when everything charged so far (spent, or reserved and not settled) together with its
worst case stays within the budget. That may be asked again and again, with requests chosen in view
of what was released before: stopping before the total is passed is a privacy filter (Rogers, Roth,
Ullman & Vadhan 2016, "Privacy Odometers and Filters"; Whitehouse, Ramdas, Rogers & Wu 2023, "Fully
Adaptive Composition in Differential Privacy", show that adaptivity costs nothing there). How far
that holds for the accountant used here is in docs/adr/0003-privacy-ledger.md.

All accounting is that of common/privacy.py, whose epsilon is never below the true one (Doroshenko
et al. 2022, "Connect the Dots").
"""

import math
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from fedward.client.ledger_book import Book, charged, held_for, merged, spent
from fedward.client.ledger_entries import Events, Reason, Request
from fedward.client.policy import LEAST_NOISE, Policy
from fedward.common.config import Frozen, Unit
from fedward.common.errors import ConfigError
from fedward.common.privacy import GaussianEvent, epsilon_of

MOST_MECHANISMS = 16  # different ones in one request; each takes a quarter of a second to account
MOST_STEPS = 10**6  # of one mechanism in one request; accounting for 10**9 takes minutes
_MOST_NOISE, _LEAST_RATE = 1e4, 1e-6
_PREFIX = 1000
_AMEND = "let the officer raise it with `fedward budget amend`"


class Refusal(NamedTuple):
    """Why a request is refused: one word for machines, one line for people."""

    reason: Reason
    message: str


class StudyStanding(Frozen):
    """One study of a `Standing`."""

    study: str
    epsilon_limit: float
    epsilon_spent: float
    epsilon_reserved: float
    rounds: int
    refusals: int
    last_run: str
    last_time: str


class Standing(Frozen):
    """What `fedward budget show --json` prints.

    ``epsilon_spent`` is that of settled rounds; ``epsilon_reserved`` is what open reservations add
    to it, so that both together are what counts against the limit. Epsilons of studies do not add
    up to the total: composition is cheaper than addition.
    """

    unit: Unit
    delta: float
    epsilon_total: float
    epsilon_spent: float
    epsilon_reserved: float
    entries: int
    studies: tuple[StudyStanding, ...]

    def numbers(self) -> Iterator[tuple[str | None, float, float]]:
        """Study (None: all together), epsilon spent, epsilon reserved."""
        yield None, self.epsilon_spent, self.epsilon_reserved
        for one in self.studies:
            yield one.study, one.epsilon_spent, one.epsilon_reserved


def refusal(book: Book, request: Request, *, today: date) -> Refusal | None:
    """Why the request may not read data, or None when it may."""
    forbidden = against_policy(book.policy, request, today)
    if forbidden is not None or held_for(book, request) is not None:
        return forbidden
    return _by_budget(book, request)


def standing(book: Book, *, entries: int, before: tuple[Book, Standing] | None = None) -> Standing:
    """What the book amounts to in numbers. What is as in a book ``before`` is not computed again:
    accounting for sampled batches takes a quarter of a second per study."""
    whole, open_too = _spent_and_reserved(book, None, before)
    return Standing(
        unit=book.policy.unit,
        delta=book.policy.delta,
        epsilon_total=book.policy.epsilon_total,
        epsilon_spent=whole,
        epsilon_reserved=open_too,
        entries=entries,
        studies=tuple(_study_standing(book, name, before) for name in sorted(book.studies)),
    )


def _study_standing(book: Book, name: str, before: tuple[Book, Standing] | None) -> StudyStanding:
    study = book.studies[name]
    own, own_open = _spent_and_reserved(book, name, before)
    return StudyStanding(
        study=name,
        epsilon_limit=book.policy.share(name),
        epsilon_spent=own,
        epsilon_reserved=own_open,
        rounds=study.rounds,
        refusals=study.refusals,
        last_run=study.last_run,
        last_time=study.last_time,
    )


@lru_cache(maxsize=4096)
def epsilon_at(events: Events, delta: float) -> float:
    """Epsilon of merged events; infinite where none can be claimed."""
    try:
        return epsilon_of(events, delta=delta)
    except ConfigError:
        return math.inf


def _spent_and_reserved(
    book: Book, study: str | None, before: tuple[Book, Standing] | None
) -> tuple[float, float]:
    now = spent(book, study), charged(book, study)
    if before is not None and now == (spent(before[0], study), charged(before[0], study)):
        for name, done, open_too in before[1].numbers():
            if name == study:
                return done, open_too
    done = epsilon_at(now[0], book.policy.delta)
    return done, max(0.0, epsilon_at(now[1], book.policy.delta) - done)


def against_policy(policy: Policy, request: Request, today: date) -> Refusal | None:
    """What the policy forbids whatever was spent before; None when nothing."""
    events = merged(request.events)
    least = min((event.noise_multiplier for event in events), default=math.inf)
    if request.unit != policy.unit:
        return Refusal("unit", f"this ledger counts by {policy.unit}, not by {request.unit}")
    if policy.share(request.study) == 0:
        return Refusal("study", f"study {request.study} has no share of the budget here")
    if not policy.valid_from <= today <= policy.valid_until:
        span = f"{policy.valid_from} to {policy.valid_until}"
        return Refusal(
            "period", f"the budget is valid from {span}, today is {today}: the officer can renew it"
        )
    if request.patients < policy.minimum_patients:
        return Refusal(
            "patients",
            f"{request.patients} patients are fewer than the {policy.minimum_patients} that every "
            "round needs: choose a larger cohort",
        )
    if least < policy.minimum_noise_multiplier:
        return Refusal(
            "noise",
            f"noise multiplier {least:g} is below {policy.minimum_noise_multiplier:g}, the least "
            "that is allowed: add noise",
        )
    if not _allowed(policy, request):
        return Refusal(
            "policy",
            f"{request.leaves} of {request.model} after {request.epochs} epochs: the policy lets "
            f"out {', '.join(policy.may_leave) or 'nothing'}, of {_models(policy)}, after "
            f"{policy.maximum_epochs} epochs at most",
        )
    if not _accountable(events):
        return Refusal(
            "mechanism",
            f"a round takes 1 to {MOST_MECHANISMS} different mechanisms with noise up to "
            f"{_MOST_NOISE:g}, rate from {_LEAST_RATE:g} and up to {MOST_STEPS:g} steps",
        )
    return None


def _allowed(policy: Policy, request: Request) -> bool:
    return (
        request.leaves in policy.may_leave
        and (policy.models is None or request.model in policy.models)
        and request.epochs <= policy.maximum_epochs
    )


def _models(policy: Policy) -> str:
    return "any model" if policy.models is None else " or ".join(policy.models)


def _accountable(events: Events) -> bool:
    return 0 < len(events) <= MOST_MECHANISMS and all(
        LEAST_NOISE <= event.noise_multiplier <= _MOST_NOISE
        and event.sample_rate >= _LEAST_RATE
        and event.steps <= MOST_STEPS
        for event in events
    )


def _by_budget(book: Book, request: Request) -> Refusal | None:
    policy, study = book.policy, request.study
    limits: tuple[tuple[Reason, float, str, Events], ...] = (
        ("total", policy.epsilon_total, "epsilon_total", charged(book)),
        ("study", policy.share(study), f"the share of study {study}", charged(book, study)),
    )
    for part in _prefixes(merged(request.events)):
        for reason, limit, name, before in limits:
            needed = epsilon_at(merged([*before, *part]), policy.delta)
            if needed > limit:
                left = limit - epsilon_at(before, policy.delta)
                return Refusal(
                    reason,
                    f"round {request.round} of {study} does not fit: it would bring the charged "
                    f"epsilon to {needed:.4g} or more, {name} is {limit:g} and {left:.4g} of it is "
                    f"left; ask for fewer steps or more noise, or {_AMEND}",
                )
    return None


def _prefixes(events: Events) -> Iterator[Events]:
    """The events, but first, if they are many, fewer steps of them: memory and time of accounting
    grow with epsilon, and a hostile request is refused before they get out of hand."""
    if any(event.steps > _PREFIX for event in events):
        yield tuple(
            GaussianEvent(event.noise_multiplier, event.sample_rate, min(event.steps, _PREFIX))
            for event in events
        )
    yield events
