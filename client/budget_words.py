"""The sentences of the budget reports: what they come to, and what must not be overlooked."""

from fedward.client.budget_report import BudgetReport
from fedward.client.consortium import ConsortiumReport
from fedward.common.wording import many, rounded_up


def charged(report: BudgetReport) -> float:
    """Epsilon of everything that counts against the budget."""
    return report.standing.epsilon_spent + report.standing.epsilon_reserved


def summary(report: BudgetReport) -> str:
    """The report in three sentences."""
    now = report.standing
    said = [
        f"Of a budget of ε {now.epsilon_total:g} per {now.unit}, {rounded_up(charged(report))} is "
        f"charged: {_releases(report)}."
    ]
    if seeded := [one for one in report.releases if one.asked.randomness == "seeded"]:
        which = "The" if len(seeded) == len(report.releases) else "Some of the"
        said.append(f"{which} noise came from a seed: a simulation, not private.")
    if report.refusals:
        said.append(f"{many(len(report.refusals), 'refused round')} read no data.")
    if report.open:
        said.append(
            f"{many(len(report.open), 'reservation')} did not come back and count as spent."
            if len(report.open) > 1
            else "1 reservation did not come back and counts as spent."
        )
    return " ".join(said)


def _releases(report: BudgetReport) -> str:
    if not report.releases:
        return "nothing has left this hospital"
    studies = len({one.asked.study for one in report.releases})
    of = "one study" if studies == 1 else f"{studies} studies"
    return f"{many(len(report.releases), 'release')} left this hospital, for {of}"


def consortium_alarms(consortium: ConsortiumReport) -> list[str]:
    """What must not be overlooked, by hospital."""
    said = []
    for one in consortium.hospitals:
        name = one.report.hospital
        if one.signature == "wrong":
            said.append(f"{name}: the signature is wrong. Believe nothing that it says.")
        if one.signature == "no key":
            said.append(f"{name}: not checked, as its public key was not given.")
        said += [f"{name}: {alarm}" for alarm in alarms(one.report)]
    return said


def alarms(report: BudgetReport) -> list[str]:
    """What must not be overlooked, in sentences; nothing where all is as it should be."""
    said = []
    if not report.ledger.whole:
        said.append(
            f"The ledger is not whole: {report.ledger.message}. Everything here counts the entries "
            "before it alone."
        )
    if report.audit is not None:
        said += [
            f"An audit refuted ε {one.epsilon_claimed:.3g} of {one.recipe}: do not rely on ε here."
            for one in report.audit.lines
            if not one.passes and one.broken is None
        ]
    if report.egress is not None and report.egress.unaccounted:
        lines = report.egress.unaccounted
        size = sum(line.size for line in lines)
        said.append(
            f"{len(lines):,} update{'s' if len(lines) > 1 else ''} with {size:,} bytes left that "
            "the ledger does not know: find out how, before anything else leaves."
        )
    return said
