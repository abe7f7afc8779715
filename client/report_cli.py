"""The commands `fedward report ...`. Parsing and printing only; a report is made elsewhere."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedward.common.errors import ConfigError, LedgerError

if TYPE_CHECKING:  # cryptography and scipy are imported when a command needs them
    from fedward.client.budget_report import BudgetReport
    from fedward.client.consortium import ConsortiumReport

PATH = click.Path(path_type=Path)
KEY = Path("hospital.key")
_json = click.option("--json", "as_json", is_flag=True, help="Print the report as JSON alone.")


@click.group()
def report() -> None:
    """Reports that a hospital signs."""


@report.command()
@click.argument("source", type=PATH, default=Path("ledger.db"))
@click.option("--key", type=PATH, help="The hospital's private key; default hospital.key.")
@click.option("--name", help="What to call the hospital; default the key's name.")
@click.option("--out", type=PATH, help="Folder of the report; default here, or RUN/budget.")
@click.option("--consent", type=PATH, help="The list of consents: who has left is counted.")
@click.option("--audit", type=PATH, help="The JSON file of an audit.")
@click.option("--egress", type=PATH, help="The hospital's list of what left, to be compared.")
@_json
def budget(
    source: Path,
    key: Path | None,
    name: str | None,
    out: Path | None,
    consent: Path | None,
    audit: Path | None,
    egress: Path | None,
    as_json: bool,
) -> None:
    """Report what a hospital's privacy has cost; SOURCE is its ledger, or a simulated RUN."""
    from fedward.client.budget_report_page import write_consortium, write_hospital
    from fedward.client.budget_reporting import Sources, make_report
    from fedward.client.budget_words import alarms
    from fedward.client.keys import load_key

    if source.is_dir():
        if key or name or egress:
            raise ConfigError(
                f"{source} is a run, with keys, names and lists of its own: leave out "
                "--key, --name and --egress"
            )
        gathered = _of_run(source, consent, audit, out or source / "budget")
        write_consortium(gathered, out or source / "budget")
        _tell_all(gathered, out or source / "budget", as_json)
        return
    key = key or KEY
    made = make_report(
        Sources(name or key.stem, source, consent, egress, audit), load_key(key), now=_now()
    )
    folder = out or Path()
    write_hospital(made, folder)
    _tell(made, folder, as_json)
    if found := alarms(made):
        raise LedgerError(f"the report is written, with an alarm: {found[0]}")


@report.command()
@click.argument("reports", type=PATH, nargs=-1, required=True)
@click.option("--key", "keys", type=PATH, multiple=True, help="A hospital's public key; repeat it.")
@click.option("--out", type=PATH, default=Path(), help="Folder of the report; default here.")
@_json
def gather(reports: tuple[Path, ...], keys: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Put the REPORTS of all hospitals together, and check every signature."""
    from fedward.client.budget_report import read_report
    from fedward.client.budget_report_page import write_consortium
    from fedward.client.consortium import gather as put_together
    from fedward.client.keys import load_public_key

    found = [read_report(path) for path in reports]
    gathered = put_together(found, [load_public_key(path) for path in keys], now=_now())
    write_consortium(gathered, out)
    _tell_all(gathered, out, as_json)


@report.command()
@click.argument("path", metavar="REPORT", type=PATH)
@click.option("--key", type=PATH, required=True, help="The hospital's public key (PEM).")
@click.option("--json", "as_json", is_flag=True, help="Print the finding as JSON alone.")
def verify(path: Path, key: Path, as_json: bool) -> None:
    """Check who signed REPORT (budget-report.json), and that nothing in it was changed."""
    from fedward.client.budget_report import is_signed_by, read_report
    from fedward.client.keys import load_public_key

    made = read_report(path)
    if not is_signed_by(made, load_public_key(key)):
        raise LedgerError(
            f"{path} was changed, or is not signed with this key: believe nothing in it"
        )
    if as_json:
        found = {"signature": "good", "hospital": made.hospital, "time": made.time}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"signed by the owner of this key, as {made.hospital}, on {made.time}")


def _of_run(run: Path, consent: Path | None, audit: Path | None, out: Path) -> "ConsortiumReport":
    """A report of every hospital of a run, each in a folder of its name, and all together."""
    from fedward.client.budget_report_page import write_hospital
    from fedward.client.budget_reporting import make_report
    from fedward.client.consortium import gather as put_together
    from fedward.client.keys import load_key, load_public_key
    from fedward.client.run_budgets import budgets_of_run

    now = _now()
    kept = budgets_of_run(run, consents=consent, audit=audit)
    made = [make_report(one.sources, load_key(one.key), now=now) for one in kept]
    for one in made:
        write_hospital(one, out / one.hospital)
    return put_together(made, [load_public_key(one.public_key) for one in kept], now=now)


def _tell(made: "BudgetReport", folder: Path, as_json: bool) -> None:
    from fedward.client.budget_report import report_bytes
    from fedward.client.budget_words import summary

    if as_json:
        click.echo(report_bytes(made).decode(), nl=False)
        return
    click.echo(summary(made))
    click.echo(f"report: {folder / 'budget-report.html'}; signed: {folder / 'budget-report.json'}")


def _tell_all(gathered: "ConsortiumReport", folder: Path, as_json: bool) -> None:
    from fedward.client.budget_report import report_bytes
    from fedward.client.budget_words import charged, consortium_alarms

    if as_json:
        click.echo(report_bytes(gathered).decode(), nl=False)
    else:
        for one in gathered.hospitals:
            total = one.report.standing.epsilon_total
            click.echo(
                f"{one.report.hospital}: epsilon {charged(one.report):.4g} of {total:g} charged; "
                f"signature {one.signature}"
            )
        click.echo(f"report: {folder / 'consortium.html'}")
    if found := consortium_alarms(gathered):
        raise LedgerError(f"the report is written, with an alarm: {found[0]}")


def _now() -> datetime:
    return datetime.now(UTC)
