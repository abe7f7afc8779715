"""The budget reports of all hospitals in one place, each with what its signature is worth.

Nothing is added up over hospitals: each protects its own patients, and who is at one hospital only
is protected by that one's epsilon.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedward import __version__
from fedward.client.budget_report import BudgetReport, is_signed_by
from fedward.client.keys import public_hex
from fedward.client.ledger_entries import Time, timestamp
from fedward.common.config import Frozen
from fedward.common.errors import ConfigError


class Gathered(Frozen):
    """A hospital's report. Its signature is "good", "wrong", or there is "no key" to check it."""

    signature: Literal["good", "wrong", "no key"]
    report: BudgetReport


class ConsortiumReport(Frozen):
    """All hospitals' reports, as they signed them, so that anybody can check them again."""

    kind: Literal["consortium-budget-report"] = "consortium-budget-report"
    version: Literal[1] = 1
    fedward_version: str
    time: Time
    hospitals: tuple[Gathered, ...]


class ModelLine(NamedTuple):
    """One model of a study: where it was trained, how much left for it, and who has left since.

    ``left_since`` is the most that any one release says; None where no hospital counted.
    """

    study: str
    run: str
    model: str
    hospitals: int
    releases: int
    touched: int
    left_since: int | None


def gather(
    reports: Sequence[BudgetReport], keys: Sequence[Ed25519PublicKey], *, now: datetime
) -> ConsortiumReport:
    """Put reports together, and check every signature.

    Raises:
        ConfigError: there is none, or two of one hospital.
    """
    if not reports:
        raise ConfigError("there is no report to gather: name at least one")
    most, count = Counter(report.public_key for report in reports).most_common(1)[0]
    if count > 1:
        names = [report.hospital for report in reports if report.public_key == most]
        raise ConfigError(f"{' and '.join(names)} have one key: give one report of each hospital")
    known = {public_hex(key): key for key in keys}
    return ConsortiumReport(
        fedward_version=__version__,
        time=timestamp(now),
        hospitals=tuple(
            Gathered(signature=_worth(report, known.get(report.public_key)), report=report)
            for report in sorted(reports, key=lambda report: report.hospital)
        ),
    )


def models(reports: Sequence[BudgetReport]) -> list[ModelLine]:
    """All models that something was released for, over these hospitals."""
    found: dict[tuple[str, str, str], list[tuple[int, int | None]]] = {}
    for number, report in enumerate(reports):
        for one in report.releases:
            key = (one.asked.study, one.asked.run, one.asked.model)
            found.setdefault(key, []).append((number, one.left_since))
    return [
        ModelLine(
            *key,
            hospitals=len({number for number, _ in lines}),
            releases=len(lines),
            touched=sum(bool(left) for _, left in lines),
            left_since=max((left for _, left in lines if left is not None), default=None),
        )
        for key, lines in found.items()
    ]


def _worth(
    report: BudgetReport, key: Ed25519PublicKey | None
) -> Literal["good", "wrong", "no key"]:
    if key is None:
        return "no key"
    return "good" if is_signed_by(report, key) else "wrong"
