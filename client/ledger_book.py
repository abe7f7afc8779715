"""What a ledger's entries amount to: who has spent what, which reservations are open.

Pure: `after` takes a book and a record to the next book and raises where the record breaks a rule.
The ledger uses it to go on, the check to go over everything again from the first entry.
"""

from collections import defaultdict
from collections.abc import Iterable

from pydantic import Field

from fedward.client.ledger_entries import (
    NO_ORDER,
    Events,
    PolicyRecord,
    Record,
    RefuseRecord,
    ReleaseRecord,
    Request,
    ReserveRecord,
    SettleRecord,
)
from fedward.client.policy import Policy
from fedward.common.config import Frozen
from fedward.common.privacy import GaussianEvent


class BrokenRule(Exception):  # noqa: N818 - callers say what it means for them
    """A record cannot follow on what came before it; the text says why."""


class Hold(Frozen):
    """An open reservation: charged whole until it is settled, or for ever if nobody comes back."""

    study: str
    reserved: Events
    order: str = NO_ORDER
    released: Events = ()


class StudyBook(Frozen):
    """One study: what its settled rounds spent, how often it asked, and its last sign of life."""

    spent: Events = ()
    rounds: int = 0
    refusals: int = 0
    last_run: str
    last_time: str


class Book(Frozen):
    """Everything that decides about the next request."""

    public_key: str
    policy: Policy
    studies: dict[str, StudyBook] = Field(default_factory=dict)
    holds: dict[int, Hold] = Field(default_factory=dict)


def merged(events: Iterable[GaussianEvent]) -> Events:
    """The same mechanisms in their shortest form: equal noise and rate once, with added steps."""
    steps: defaultdict[tuple[float, float], int] = defaultdict(int)
    for event in events:
        steps[event.noise_multiplier, event.sample_rate] += event.steps
    return tuple(GaussianEvent(*key, count) for key, count in sorted(steps.items()) if count)


def within(part: Iterable[GaussianEvent], whole: Iterable[GaussianEvent]) -> bool:
    """Whether every mechanism of ``part`` stands in ``whole`` with at least as many steps."""
    most = {(e.noise_multiplier, e.sample_rate): e.steps for e in merged(whole)}
    return all(e.steps <= most.get((e.noise_multiplier, e.sample_rate), 0) for e in merged(part))


def spent(book: Book, study: str | None = None) -> Events:
    """What settled reservations spent, of one study or of all."""
    books = book.studies.values() if study is None else filter(None, [book.studies.get(study)])
    return merged(event for one in books for event in one.spent)


def charged(book: Book, study: str | None = None) -> Events:
    """What counts against the budget: spent, or reserved and not settled."""
    holds = (hold for hold in book.holds.values() if study in (None, hold.study))
    return merged([*spent(book, study), *(event for hold in holds for event in hold.reserved)])


def held_for(book: Book, request: Request) -> int | None:
    """The open reservation of this very order, of which nothing has left yet, if there is one: an
    order that comes again after a crash is not charged again, since only one answer can leave."""
    events = merged(request.events)
    for number, hold in book.holds.items():
        same = (hold.study, hold.order, hold.reserved) == (request.study, request.order, events)
        if same and request.order != NO_ORDER and not hold.released:
            return number
    return None


def after(book: Book | None, record: Record, *, entry: int) -> Book:
    """The book after one more entry. Budgets are not looked at here, see client/budget.py.

    Raises:
        BrokenRule: the record cannot follow on what came before it.
    """
    if isinstance(record, PolicyRecord):
        return _with_policy(book, record)
    if book is None:
        raise BrokenRule("a ledger begins with a policy")
    if isinstance(record, ReserveRecord):
        return _reserved(book, record, entry)
    if isinstance(record, RefuseRecord):
        study = _study(book, record.request, record.time)
        study = study.model_copy(update={"refusals": study.refusals + 1})
        return book.model_copy(update={"studies": {**book.studies, record.request.study: study}})
    hold = book.holds.get(record.reservation)
    if hold is None:
        raise BrokenRule(f"reservation {record.reservation} is not open")
    if isinstance(record, ReleaseRecord):
        return _released(book, hold, record)
    return _settled(book, hold, record)


def _with_policy(book: Book | None, record: PolicyRecord) -> Book:
    if book is None:
        return Book(public_key=record.public_key, policy=record.policy)
    if record.public_key != book.public_key:
        raise BrokenRule("the policy names another key than the first entry")
    for key in ("unit", "delta"):
        before, now = getattr(book.policy, key), getattr(record.policy, key)
        if before != now:
            raise BrokenRule(
                f"{key} cannot change from {before} to {now}: what is spent was counted with it; "
                f"state {key}: {before}"
            )
    return book.model_copy(update={"policy": record.policy})


def _reserved(book: Book, record: ReserveRecord, entry: int) -> Book:
    request = record.request
    events = merged(request.events)
    if not events or request.unit != book.policy.unit:
        raise BrokenRule("it reserves nothing that this ledger counts")
    study = _study(book, request, record.time)
    study = study.model_copy(update={"rounds": study.rounds + 1})
    hold = Hold(study=request.study, order=request.order, reserved=events)
    studies = {**book.studies, request.study: study}
    return book.model_copy(update={"studies": studies, "holds": {**book.holds, entry: hold}})


def _released(book: Book, hold: Hold, record: ReleaseRecord) -> Book:
    released = merged([*hold.released, *record.events])
    if not merged(record.events):
        raise BrokenRule("a release went through no mechanism")
    if not within(released, hold.reserved):
        raise BrokenRule(f"more is released than reservation {record.reservation} holds")
    hold = hold.model_copy(update={"released": released})
    return book.model_copy(update={"holds": {**book.holds, record.reservation: hold}})


def _settled(book: Book, hold: Hold, record: SettleRecord) -> Book:
    if not within(record.events, hold.reserved):
        raise BrokenRule(f"more is settled than reservation {record.reservation} holds")
    if not within(hold.released, record.events):
        raise BrokenRule(f"less is settled than reservation {record.reservation} released")
    study = book.studies[hold.study]
    total = merged([*study.spent, *record.events])
    study = study.model_copy(update={"spent": total, "last_time": record.time})
    holds = {number: one for number, one in book.holds.items() if number != record.reservation}
    studies = {**book.studies, hold.study: study}
    return book.model_copy(update={"studies": studies, "holds": holds})


def _study(book: Book, request: Request, time: str) -> StudyBook:
    known = book.studies.get(request.study)
    if known is None:
        return StudyBook(last_run=request.run, last_time=time)
    return known.model_copy(update={"last_run": request.run, "last_time": time})
