"""Making a hospital's budget report from its ledger, its lists and an audit, and signing it."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedward import __version__
from fedward.client.audit_file import read_audit
from fedward.client.budget import Standing, standing
from fedward.client.budget_history import History, curve, history, release_lines
from fedward.client.budget_report import (
    HOSPITAL,
    BudgetReport,
    ConsentPart,
    LedgerState,
    ReleaseLine,
    StudyConsent,
    signed,
)
from fedward.client.consent import Consents, read_consents
from fedward.client.egress import read_departures
from fedward.client.egress_check import compare
from fedward.client.keys import public_hex
from fedward.client.ledger_check import Anchor, signed_anchor, verify
from fedward.client.ledger_entries import read_record, timestamp
from fedward.client.ledger_file import Row, reading, rows
from fedward.common.config import Randomness, Unit
from fedward.common.errors import ConfigError, LedgerError
from fedward.common.privacy import EXACT, accountant_name

EVERY_STUDY = "*"


@dataclass(frozen=True)
class Sources:
    """What a report is made from; what is None is not in it.

    Raises:
        ConfigError: the hospital's name is none.
    """

    hospital: str
    ledger: Path
    consents: Path | None = None
    egress: Path | None = None
    audit: Path | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(HOSPITAL, self.hospital) or self.hospital.endswith("\n"):
            raise ConfigError("a hospital's name is one line of up to 100 letters without / and \\")


def make_report(sources: Sources, key: Ed25519PrivateKey, *, now: datetime) -> BudgetReport:
    """Check the ledger, tell what stands in it, and sign that.

    Of a ledger that is not whole the report counts what comes before the first wrong entry, and
    says so.

    Raises:
        LedgerError: there is no ledger, or its very first entry is wrong.
        DataError: the consents, or the list of what left, are not as they should be.
        ConfigError: the audit is none.
    """
    state, checked = _checked(sources.ledger, key)
    told = history(read_record(content, entry=number) for number, content, *_ in checked)
    amounts = standing(told.book, entries=len(checked))
    releases = release_lines(told)
    consents = read_consents(sources.consents) if sources.consents else None
    today = now.astimezone(UTC).date()
    report = BudgetReport(
        fedward_version=__version__,
        hospital=sources.hospital,
        time=timestamp(now),
        public_key=public_hex(key.public_key()),
        ledger=state,
        anchor=_anchor(checked, key, now) if state.whole else None,
        policy=told.book.policy,
        policies=tuple(told.policies),
        standing=amounts,
        epsilon_left=max(
            0.0, amounts.epsilon_total - amounts.epsilon_spent - amounts.epsilon_reserved
        ),
        curve=curve(told, releases, amounts),
        releases=_with_left(releases, consents, today) if consents else releases,
        refusals=tuple(told.refusals),
        open=told.open(),
        consent=_counted(consents, amounts, today) if consents else None,
        egress=(
            compare(read_departures(sources.egress), (one.record for one in told.departed))
            if sources.egress
            else None
        ),
        audit=read_audit(sources.audit) if sources.audit else None,
        assumptions=assumptions(told),
    )
    return signed(report, key)


def assumptions(told: History) -> tuple[str, ...]:
    """What the epsilons rest on."""
    said = [
        *_neighbours(told.book.policy.unit),
        "What a unit adds to a release is clipped to a norm, and Gaussian noise with the stated "
        "multiple of that norm is added.",
        _source({one.reserved.request.randomness for one in told.departed}),
        "Every hospital adds its own full noise and trusts nobody else with its updates.",
        "Times are those of the hospital's clock.",
    ]
    events = [event for one in told.departed for event in one.charged]
    if accountant_name(events) == EXACT:
        said.append(
            "Requests may be chosen in view of earlier releases: for full batches that costs "
            "nothing (Smith and Thakurta 2022)."
        )
    else:
        said += [
            "In sampled batches every unit takes part by a coin of its own with the stated rate.",
            "For sampled batches, noise, rate and steps follow from the study and public numbers, "
            "not from earlier releases.",
        ]
    return tuple(said)


def _source(randomness: set[Randomness]) -> str:
    if "seeded" in randomness:
        return (
            "Noise of this ledger was drawn from a seed, as simulations do: whoever knows the seed "
            "subtracts it. Not private: the epsilons say what secret noise would have spent."
        )
    return "Noise is drawn from a source that nobody can predict or repeat."


def _neighbours(unit: Unit) -> list[str]:
    if unit == "patient":
        return [
            "Neighbouring data sets differ by adding or removing one patient with all images.",
            "Who is on an image is what the data say; a person under two numbers is two.",
        ]
    return [
        "Neighbouring data sets differ by adding or removing one image.",
        "A person with several images is protected for each image, not for all together.",
    ]


def _checked(path: Path, key: Ed25519PrivateKey) -> tuple[LedgerState, list[Row]]:
    """Whether the ledger is whole, and all its entries, or those before the first wrong one."""
    try:
        most = verify(path, key.public_key()).entries
        state = LedgerState(whole=True, entries=most)
    except LedgerError as error:
        if error.entry is None or error.entry < 2:
            raise
        most = error.entry - 1
        state = LedgerState(whole=False, entries=most, wrong_entry=error.entry, message=str(error))
    with reading(path) as connection:
        return state, [row for _, row in zip(range(most), rows(connection), strict=False)]


def _anchor(checked: list[Row], key: Ed25519PrivateKey, now: datetime) -> Anchor:
    return signed_anchor(entries=len(checked), digest=checked[-1][2], key=key, now=now)


def _with_left(
    releases: tuple[ReleaseLine, ...], consents: Consents, today: date
) -> tuple[ReleaseLine, ...]:
    """How many patients have left since. What counts is the day of the reservation: data was read
    then or later, so whoever left in between is not forgotten."""
    asked = {(one.asked.study, one.reserved[:10]) for one in releases}
    left = {
        (study, day): consents.left_since(date.fromisoformat(day), study=study, today=today)
        for study, day in asked
    }
    return tuple(
        one.model_copy(update={"left_since": left[one.asked.study, one.reserved[:10]]})
        for one in releases
    )


def _counted(consents: Consents, amounts: Standing, today: date) -> ConsentPart:
    return ConsentPart(
        everywhere=consents.withdrawn(study=EVERY_STUDY, today=today),
        studies=tuple(
            StudyConsent(
                study=one.study, withdrawn=consents.withdrawn(study=one.study, today=today)
            )
            for one in amounts.studies
        ),
    )
