"""The pages of the budget reports, of one hospital and of a consortium: HTML from signed data."""

from functools import cache
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup

from fedward.client.budget_chart import Steps, drawn
from fedward.client.budget_report import BudgetReport, report_bytes
from fedward.client.budget_words import alarms, charged, consortium_alarms, summary
from fedward.client.consortium import ConsortiumReport, models
from fedward.common.files import write_bytes
from fedward.common.page import page_template

MOST_ROWS = 1000  # of a table; the JSON has all
COLOURS = 8  # lines that are told apart
_CURE = "free some space and try again"


def write_hospital(report: BudgetReport, folder: Path) -> None:
    """budget-report.json and budget-report.html. Raises RunError when they cannot be written."""
    write_bytes(folder / "budget-report.json", report_bytes(report), cure=_CURE)
    write_bytes(folder / "budget-report.html", hospital_page(report).encode(), cure=_CURE)


def write_consortium(consortium: ConsortiumReport, folder: Path) -> None:
    """consortium.json and consortium.html. Raises RunError when they cannot be written."""
    write_bytes(folder / "consortium.json", report_bytes(consortium), cure=_CURE)
    write_bytes(folder / "consortium.html", consortium_page(consortium).encode(), cure=_CURE)


def hospital_page(report: BudgetReport) -> str:
    """A hospital's report as HTML that needs nothing else."""
    return _template("budget_report.html").render(
        report=report,
        alarms=alarms(report),
        summary=summary(report),
        chart=budget_chart(report),
        models=models([report]),
        charged=charged(report),
        most=MOST_ROWS,
    )


def consortium_page(consortium: ConsortiumReport) -> str:
    """A consortium's report as HTML that needs nothing else."""
    reports = [one.report for one in consortium.hospitals]
    return _template("consortium_report.html").render(
        consortium=consortium,
        reports=reports,
        alarms=consortium_alarms(consortium),
        good=sum(one.signature == "good" for one in consortium.hospitals),
        highest=max(reports, key=charged),
        charged=charged,
        chart=shares_chart(reports, until=consortium.time),
        colours=COLOURS,
        studies=sorted({one.study for report in reports for one in report.standing.studies}),
        models=models(reports),
    )


def budget_chart(report: BudgetReport) -> Markup:
    """Epsilon charged over time against the budget."""
    budget = Steps("budget", [(one.time, one.epsilon_total) for one in report.policies])
    spent = Steps("charged", [(one.time, one.epsilon) for one in report.curve], filled=True)
    told = "Epsilon charged over time against the budget; the table of releases has the numbers."
    refused = [one.time for one in report.refusals]
    return drawn([spent, budget], until=report.time, told=told, marks=refused, percent=False)


def shares_chart(reports: list[BudgetReport], *, until: str) -> Markup:
    """Every hospital's charged share of its own budget over time."""
    lines = [
        Steps(
            f"line line-{number % COLOURS}" if len(reports) <= COLOURS else "line line-0",
            [(one.time, one.epsilon / report.standing.epsilon_total) for one in report.curve],
        )
        for number, report in enumerate(reports)
    ]
    begin = min(report.curve[0].time for report in reports)
    told = (
        "Share of its budget that every hospital has charged, over time; a table has the numbers."
    )
    return drawn([*lines, Steps("whole", [(begin, 1.0)])], until=until, told=told, percent=True)


@cache
def _template(name: str) -> Template:
    return page_template("fedward.client", name)
