"""The report of a hospital's privacy budget, as signed data. How it looks is elsewhere.

Everything in it stands in the ledger, or is a count of the hospital's consents and of its list of
what left. There is no patient's id in it, no path, no loss, and no number of images or patients but
those that the hospital declares.

The file is the report as canonical JSON (client/ledger_entries.py) and a line's end. The signature
is the hospital's Ed25519 over all but itself; a file in any other form is refused, so that what one
reader sees every other one sees too.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, StringConstraints, ValidationError

from fedward.client.budget import Standing
from fedward.client.keys import public_hex
from fedward.client.ledger_check import Anchor
from fedward.client.ledger_entries import (
    Events,
    Hex,
    Line,
    Reason,
    Time,
    canonical,
    is_signed,
    sign,
)
from fedward.client.policy import Policy
from fedward.common.config import Count, Frozen, Randomness, Unit
from fedward.common.errors import ConfigError

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=0)]
HOSPITAL = r"^[^\x00-\x1f\x7f/\\]{1,100}$"
HospitalName = Annotated[str, StringConstraints(pattern=HOSPITAL)]


class Asked(Frozen):
    """Which round of what."""

    study: str
    run: str
    round: int
    model: str
    randomness: Randomness = "secure"


class EntryLine(Frozen):
    """What an entry of the ledger is about, and when it was written, by the hospital's clock."""

    entry: Count
    time: Time


class ReleaseLine(EntryLine):
    """Something that left through a mechanism.

    Attributes:
        reserved: when the round might begin to read data.
        events: noise multiplier, sampling rate and steps of all mechanisms; ``mechanism`` in words.
        accountant: of all that was charged when this had left, worth ``epsilon`` at ``delta``; None
            where it was not computed (see client/budget_history.py).
        left_since: at most so many patients who have a "no" in force now had none that was in force
            before the day of ``reserved``; None without a list of consents.
    """

    asked: Asked
    reserved: Time
    unit: Unit
    mechanism: str
    events: Events
    accountant: str
    delta: float
    epsilon: Amount | None
    sha256: Hex
    size: Size
    left_since: Size | None = None


class RefusalLine(EntryLine):
    """A round that was refused; it cost nothing."""

    asked: Asked
    reason: Reason
    message: Line


class OpenLine(EntryLine):
    """A reservation that nobody settled: charged whole."""

    asked: Asked
    events: Events


class PolicyLine(EntryLine):
    """A policy that was signed off."""

    epsilon_total: Amount


class CurvePoint(EntryLine):
    """What everything charged so far is worth."""

    epsilon: Amount


class LedgerState(Frozen):
    """Whether the ledger is whole. Where it is not, the report goes by the entries before
    ``wrong_entry`` alone."""

    whole: bool
    entries: Count
    wrong_entry: Count | None = None
    message: str | None = None


class StudyConsent(Frozen):
    """How many patients have a "no" in force for a study, whether there is data of them or not."""

    study: str
    withdrawn: Size


class ConsentPart(Frozen):
    """Counts out of the hospital's list of consents. ``everywhere``: a "no" for all studies."""

    everywhere: Size
    studies: tuple[StudyConsent, ...]


class EgressKind(Frozen):
    """All replies of one kind."""

    kind: str
    messages: Size
    bytes: Size


class Unaccounted(Frozen):
    """An update that left and that no release of the ledger knows."""

    time: Time
    study: str
    run: str
    round: int
    size: Size
    sha256: Hex


class EgressPart(Frozen):
    """What left, by the hospital's list, against the ledger. ``unsent`` releases were charged and
    are not in the list: they were on the way when something broke, or the list was cut."""

    kinds: tuple[EgressKind, ...]
    unaccounted: tuple[Unaccounted, ...]
    unsent: Size


class AuditLine(Frozen):
    """One claim that was tested with crafted patients, ``canaries``: an attacker guessed of some
    whether they were in. Two lower bounds of epsilon, each at this confidence; the claim ``passes``
    if both are below it. ``broken`` says how the mechanism was broken on purpose."""

    recipe: Line
    broken: Line | None
    unit: Unit
    epsilon_claimed: Amount
    delta: Amount
    canaries: Size
    guesses: Size
    right: Size
    confidence: Amount
    epsilon_lower_bound: Amount
    epsilon_lower_bound_curve: Amount
    passes: bool


class AuditPart(Frozen):
    """What an audit found, and the SHA-256 of its file."""

    sha256: Hex
    lines: tuple[AuditLine, ...]


class BudgetReport(Frozen):
    """A hospital's privacy budget at some time."""

    kind: Literal["budget-report"] = "budget-report"
    version: Literal[1] = 1
    fedward_version: str
    hospital: HospitalName
    time: Time
    public_key: Hex
    ledger: LedgerState
    anchor: Anchor | None
    policy: Policy
    policies: tuple[PolicyLine, ...]
    standing: Standing
    epsilon_left: Amount
    curve: tuple[CurvePoint, ...]
    releases: tuple[ReleaseLine, ...]
    refusals: tuple[RefusalLine, ...]
    open: tuple[OpenLine, ...]
    consent: ConsentPart | None
    egress: EgressPart | None
    audit: AuditPart | None
    assumptions: tuple[str, ...]
    signature: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{128})?$")] = ""

    def signed_part(self) -> bytes:
        """What the signature is over: all but itself."""
        return canonical(self.model_copy(update={"signature": ""}))


def signed(report: BudgetReport, key: Ed25519PrivateKey) -> BudgetReport:
    """The report with the hospital's signature."""
    return report.model_copy(update={"signature": sign(key, report.signed_part()).hex()})


def is_signed_by(report: BudgetReport, key: Ed25519PublicKey) -> bool:
    """Whether this key's owner signed exactly this report, and as this key's owner."""
    try:
        signature = bytes.fromhex(report.signature)
    except ValueError:
        return False
    named = report.public_key == public_hex(key)
    return named and is_signed(key, report.signed_part(), signature)


def report_bytes(report: Frozen) -> bytes:
    """The one form of a report as a file."""
    return canonical(report) + b"\n"


def read_report(path: Path) -> BudgetReport:
    """A report from a file; its signature is not checked.

    Raises:
        ConfigError: no such file, no report, or one that is not in its one form.
    """
    try:
        content = path.read_bytes()
        report = BudgetReport.model_validate(json.loads(content))
    except OSError as error:
        raise ConfigError(f"cannot read the report {path}: {error.strerror}") from None
    except (ValueError, ValidationError, ConfigError, RecursionError):
        raise ConfigError(
            f"{path} is no budget report: give a budget-report.json of `fedward report budget`"
        ) from None
    if report_bytes(report) != content:
        raise ConfigError(f"{path} is not as Fedward wrote it: ask the hospital for the file again")
    return report
