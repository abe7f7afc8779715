"""The command `fedward plan`, and what it adds to `fedward budget show`. Parsing and printing only;
planning is in sims/plan.py, what a ledger has room for in client/rounds_left.py."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedward.client.budget_cli import LEDGER, PATH, budget, in_words
from fedward.client.budget_cli import show as show_alone
from fedward.common.errors import ConfigError

if TYPE_CHECKING:  # torch and scipy are imported when a command needs them
    from fedward.client.budget import Standing
    from fedward.client.rounds_left import RoundsLeft
    from fedward.common.config import Study

_patients = "The hospital's public size, in the study's unit of privacy: images, or patients."


@click.command()
@click.option("--recipe", help="What to plan; `fedward simulate --list` has the names.")
@click.option("--config", type=PATH, help="A study as YAML or JSON, instead of a recipe.")
@click.option("--patients", type=int, required=True, help=_patients)
@click.option("--epsilon", type=float, help="Of the whole run, instead of the study's.")
@click.option("--rounds", type=int, help="Instead of the study's.")
@click.option("--delta", type=float, help="Instead of the study's.")
@click.option(
    "--noise-multiplier",
    type=float,
    help="Of a training step; epsilon follows, or with --epsilon the number of rounds.",
)
@click.option(
    "--runs",
    type=PATH,
    default=Path("runs"),
    show_default=True,
    help="Finished runs to learn from.",
)
@click.option("--ledger", type=PATH, help="Say how many rounds fit in what this ledger has left.")
@click.option("--every", is_flag=True, help="Every round; sampled ones take 0.15 s each.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON alone.")
def plan(
    recipe: str | None,
    config: Path | None,
    patients: int,
    epsilon: float | None,
    rounds: int | None,
    delta: float | None,
    noise_multiplier: float | None,
    runs: Path,
    ledger: Path | None,
    every: bool,
    as_json: bool,
) -> None:
    """Noise, epsilon by round and expected accuracy of a study, before any data are touched."""
    from fedward.sims.plan import make_plan
    from fedward.sims.plan_estimates import estimates_for
    from fedward.sims.plan_study import planned_study, public_size
    from fedward.sims.plan_words import Outlook, estimates_in_words, plan_in_words, room_in_words
    from fedward.sims.studies import chosen_study

    base = chosen_study(recipe, config)
    size = public_size(patients, base.unit)
    study = planned_study(
        base,
        size,
        rounds=rounds,
        epsilon=epsilon,
        noise_multiplier=noise_multiplier,
        delta=delta,
    )
    outlook = Outlook(
        plan=make_plan(study, size, every=every),
        estimates=estimates_for(study.training.model, runs),
        rounds_left=_room(study, size, ledger)[1] if ledger else None,
    )
    _tell_rounded(patients, size, base.unit)
    if as_json:
        click.echo(outlook.model_dump_json(indent=2))
        return
    click.echo(plan_in_words(outlook.plan, every=every))
    if ledger and outlook.rounds_left:
        click.echo("\n" + room_in_words(outlook.rounds_left, ledger))
    click.echo("\n" + estimates_in_words(outlook.estimates, runs, outlook.plan.unit))


@click.command()
@click.argument("ledger", type=PATH, default=LEDGER)
@click.option("--recipe", help="Also say how many more rounds of this recipe fit.")
@click.option("--patients", type=int, help=_patients)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON alone.")
@click.pass_context
def show(
    ctx: click.Context, ledger: Path, recipe: str | None, patients: int | None, as_json: bool
) -> None:
    """Say what is spent and reserved, in all and by study, and what a recipe has room for."""
    if recipe is None and patients is None:
        ctx.invoke(show_alone, ledger=ledger, as_json=as_json)
        return
    if recipe is None or patients is None:
        raise ConfigError("how many rounds fit depends on both: give --recipe and --patients")

    from fedward.client.rounds_left import StandingWithRoom  # brings torch
    from fedward.sims.plan_study import public_size
    from fedward.sims.plan_words import room_in_words
    from fedward.sims.recipes import recipe as recipe_named

    study = recipe_named(recipe)
    size = public_size(patients, study.unit)
    standing, room = _room(study, size, ledger)
    _tell_rounded(patients, size, study.unit)
    if as_json:
        both = StandingWithRoom(**standing.model_dump(), rounds_left=room)
        click.echo(both.model_dump_json(indent=2))
        return
    click.echo(in_words(standing))
    click.echo(room_in_words(room, ledger))


# The hospital's own commands, of which `show` knows the recipes of the simulator here.
budget_with_recipes = click.Group(
    budget.name, commands={**budget.commands, "show": show}, help=budget.help
)


def _tell_rounded(patients: int, size: int, unit: str) -> None:
    if size != patients:
        note = f"a hospital states its size in two digits: {size:,} {unit}s, not {patients:,}"
        click.echo(note, err=True)


def _room(study: "Study", size: int, ledger: Path) -> tuple["Standing", "RoundsLeft"]:
    """What a ledger says is spent, and what it has room for today."""
    from fedward.client.ledger_page import read_book
    from fedward.client.rounds_left import rounds_left
    from fedward.sims.plan_study import noise_of

    noise = noise_of(study, size)
    book, standing = read_book(ledger)
    today = datetime.now(UTC).date()
    return standing, rounds_left(book, noise, study, size=size, today=today)
