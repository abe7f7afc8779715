"""A ledger as a story: what was released, refused and left open, and what it cost over time.

Pure: from records, which somebody has checked (client/ledger_check.py), to lines of the report.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fedward.client.budget import Standing, epsilon_at
from fedward.client.budget_report import (
    Asked,
    CurvePoint,
    OpenLine,
    PolicyLine,
    RefusalLine,
    ReleaseLine,
)
from fedward.client.ledger_book import Book, after, charged
from fedward.client.ledger_entries import (
    Events,
    PolicyRecord,
    Record,
    RefuseRecord,
    ReleaseRecord,
    Request,
    ReserveRecord,
)
from fedward.common.privacy import EXACT, accountant_name

MOST_SAMPLED = 60  # epsilons of sampled batches, a quarter of a second each
MOST_EXACT = 1000  # epsilons in closed form, a millisecond each


class Departed(NamedTuple):
    """A release, the reservation that it belongs to, and what was charged when it had left."""

    entry: int
    record: ReleaseRecord
    reserved: ReserveRecord
    charged: Events


@dataclass
class History:
    """Everything that happened, in the ledger's order; ``book`` is what it comes to."""

    book: Book
    last: tuple[int, str]
    policies: list[PolicyLine] = field(default_factory=list)
    departed: list[Departed] = field(default_factory=list)
    refusals: list[RefusalLine] = field(default_factory=list)
    reservations: dict[int, ReserveRecord] = field(default_factory=dict)

    def open(self) -> tuple[OpenLine, ...]:
        """Reservations that nobody settled."""
        return tuple(
            OpenLine(
                entry=number,
                time=self.reservations[number].time,
                asked=_asked(self.reservations[number].request),
                events=hold.reserved,
            )
            for number, hold in self.book.holds.items()
        )


def history(records: Iterable[Record]) -> History:
    """Go over all records of a ledger, from its first policy on."""
    told: History | None = None
    for entry, record in enumerate(records, 1):
        book = after(told.book if told else None, record, entry=entry)
        told = told or History(book, (entry, record.time))
        told.book, told.last = book, (entry, record.time)
        _note(told, entry, record)
    assert told is not None  # a ledger has at least its policy
    return told


def _note(told: History, entry: int, record: Record) -> None:
    if isinstance(record, PolicyRecord):
        total = record.policy.epsilon_total
        told.policies.append(PolicyLine(entry=entry, time=record.time, epsilon_total=total))
    elif isinstance(record, ReserveRecord):
        told.reservations[entry] = record
    elif isinstance(record, ReleaseRecord):
        reserved = told.reservations[record.reservation]
        told.departed.append(Departed(entry, record, reserved, charged(told.book)))
    elif isinstance(record, RefuseRecord):
        told.refusals.append(
            RefusalLine(
                entry=entry,
                time=record.time,
                asked=_asked(record.request),
                reason=record.reason,
                message=record.message,
            )
        )


def release_lines(told: History) -> tuple[ReleaseLine, ...]:
    """All releases; with epsilons for as many, evenly over the ledger, as there is time for."""
    exact = accountant_name(charged(told.book)) == EXACT
    wanted = set(evenly(len(told.departed), MOST_EXACT if exact else MOST_SAMPLED))
    delta = told.book.policy.delta
    return tuple(
        ReleaseLine(
            entry=one.entry,
            time=one.record.time,
            asked=_asked(one.reserved.request),
            reserved=one.reserved.time,
            unit=one.reserved.request.unit,
            mechanism=mechanism(one.record.events),
            events=one.record.events,
            accountant=accountant_name(one.charged),
            delta=delta,
            epsilon=_finite(epsilon_at(one.charged, delta)) if number in wanted else None,
            sha256=one.record.sha256,
            size=one.record.size,
        )
        for number, one in enumerate(told.departed)
    )


def curve(told: History, releases: Sequence[ReleaseLine], now: Standing) -> tuple[CurvePoint, ...]:
    """Epsilon of everything charged: nothing at first, after releases, and exactly at the end."""
    first, (entry, time) = told.policies[0], told.last
    points = [CurvePoint(entry=first.entry, time=first.time, epsilon=0.0)]
    points += [
        CurvePoint(entry=one.entry, time=one.time, epsilon=one.epsilon)
        for one in releases
        if one.epsilon is not None
    ]
    total = now.epsilon_spent + now.epsilon_reserved
    return (*points, CurvePoint(entry=entry, time=time, epsilon=total))


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the places 0 to count - 1, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def mechanism(events: Events) -> str:
    """What runs, in words."""
    full = {event.sample_rate == 1 for event in events}
    return " and ".join(
        ("Gaussian, full batch" if whole else "Gaussian, Poisson-sampled")
        for whole in sorted(full, reverse=True)
    )


def _asked(request: Request) -> Asked:
    return Asked(
        study=request.study,
        run=request.run,
        round=request.round,
        model=request.model,
        randomness=request.randomness,
    )


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None
