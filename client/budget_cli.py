"""The commands `fedward budget ...`. Parsing and printing only; the ledger is client/ledger.py."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # cryptography and scipy are imported when a command needs them
    from fedward.client.budget import Standing

PATH = click.Path(path_type=Path)
LEDGER, KEY = Path("ledger.db"), Path("hospital.key")
_ledger = click.option("--ledger", type=PATH, default=LEDGER, show_default=True)
_key = click.option(
    "--key", type=PATH, default=KEY, show_default=True, help="The hospital's private key."
)


@click.group()
def budget() -> None:
    """A hospital's privacy budget and the ledger that keeps it."""


@budget.command()
@click.argument("policy", type=PATH)
@_ledger
@_key
def init(policy: Path, ledger: Path, key: Path) -> None:
    """Sign off POLICY (privacy.yaml): make a ledger, and a key where there is none."""
    from fedward.client.keys import create_key, load_key, public_path
    from fedward.client.ledger import Ledger
    from fedward.client.policy import read_policy

    signed = read_policy(policy)
    private = load_key(key) if key.exists() else create_key(key)
    Ledger.create(ledger, private, signed, clock=_now)
    click.echo(
        f"epsilon {signed.epsilon_total:g} at delta {signed.delta:g} per {signed.unit}, "
        f"{signed.valid_from} to {signed.valid_until}"
    )
    click.echo(f"ledger: {ledger}; private key: {key}; public key: {public_path(key)}")


@budget.command()
@click.argument("policy", type=PATH)
@_ledger
@_key
def amend(policy: Path, ledger: Path, key: Path) -> None:
    """Sign off a changed POLICY; what is spent stays spent."""
    from fedward.client.keys import load_key
    from fedward.client.ledger import Ledger
    from fedward.client.policy import read_policy

    signed = read_policy(policy)
    Ledger(ledger, load_key(key), clock=_now).amend(signed)
    click.echo(f"from now on: epsilon {signed.epsilon_total:g} in all, until {signed.valid_until}")


@budget.command()
@click.argument("ledger", type=PATH, default=LEDGER)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON alone.")
def show(ledger: Path, as_json: bool) -> None:
    """Say what is spent and reserved, in all and by study."""
    from fedward.client.ledger_page import read_standing

    now = read_standing(ledger)
    click.echo(now.model_dump_json(indent=2) if as_json else in_words(now))


@budget.command()
@click.argument("ledger", type=PATH)
@click.option("--key", type=PATH, required=True, help="The hospital's public key (PEM).")
@click.option("--anchor", type=PATH, help="A file of `fedward budget anchor`, made earlier.")
def verify(ledger: Path, key: Path, anchor: Path | None) -> None:
    """Check every entry of LEDGER, offline."""
    from fedward.client.keys import load_public_key
    from fedward.client.ledger_check import read_anchor
    from fedward.client.ledger_check import verify as check

    known = read_anchor(anchor) if anchor else None
    now = check(ledger, load_public_key(key), known)
    click.echo(in_words(now))
    click.echo(f"all {now.entries} entries are whole, in order, signed, and within the budget")
    if known is None:
        click.echo("without --anchor, entries cut off at the end go unnoticed")


@budget.command("anchor")
@click.argument("ledger", type=PATH, default=LEDGER)
@_key
@click.option("--out", type=PATH, help="Write to this file instead of printing.")
def export_anchor(ledger: Path, key: Path, out: Path | None) -> None:
    """Sign the end of LEDGER, to be kept where nobody at the hospital can change it."""
    from fedward.client.keys import load_key
    from fedward.client.ledger_check import make_anchor
    from fedward.common.files import write_text

    text = make_anchor(ledger, load_key(key), now=_now()).model_dump_json()
    if out is None:
        click.echo(text)
        return
    write_text(out, f"{text}\n")
    click.echo(f"anchor: {out}")


def _now() -> datetime:
    return datetime.now(UTC)


def in_words(now: "Standing") -> str:
    """What is spent, reserved and left, with a line for every study."""
    left = max(0.0, now.epsilon_total - now.epsilon_spent - now.epsilon_reserved)
    lines = [
        f"epsilon {now.epsilon_total:g} at delta {now.delta:g}, unit: one {now.unit}",
        f"spent {now.epsilon_spent:.4g}, reserved {now.epsilon_reserved:.4g}, left {left:.4g}; "
        f"{now.entries} {'entry' if now.entries == 1 else 'entries'}",
    ]
    lines += [
        f"  {one.study}: spent {one.epsilon_spent:.4g}, reserved {one.epsilon_reserved:.4g} of "
        f"{one.epsilon_limit:g}; {one.rounds} rounds, {one.refusals} refusals, last {one.last_run} "
        f"at {one.last_time}"
        for one in now.studies
    ]
    return "\n".join(lines)
