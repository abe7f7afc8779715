"""The command `fedward audit`. Parsing and printing only; what it does is in sims/audit.py."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedward.common.config import Study
from fedward.common.errors import ConfigError
from fedward.sims.bench_cli import PATH, tell, tell_nothing

if TYPE_CHECKING:  # the accountant takes a while to import
    from fedward.sims.audit_mechanism import Broken


@click.command()
@click.option("--recipe", "recipes", multiple=True, help="A private recipe; may be repeated.")
@click.option("--config", type=PATH, help="A study as YAML or JSON, instead of recipes.")
@click.option("--data", help="Faces: fer2013.csv(.gz), a folder, a zip, or 'synthetic'.")
@click.option("--seed", type=click.IntRange(0), help="Of the study and of the audit.")
@click.option(
    "--canaries", type=click.IntRange(20), default=1000, show_default=True, help="Crafted patients."
)
@click.option("--images", type=click.IntRange(1), help="At most so many images of the hospital's.")
@click.option(
    "--broken",
    type=click.Choice(["no-noise", "no-clipping", "records-for-patients"]),
    help="Break the mechanism on purpose, to see that the audit catches it.",
)
@click.option("--out", type=PATH, required=True, help="Folder for audit.json and audit.png.")
@click.option("--json", "as_json", is_flag=True, help="Print audit.json alone.")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.pass_context
def audit(
    context: click.Context,
    recipes: tuple[str, ...],
    config: Path | None,
    data: str | None,
    seed: int | None,
    canaries: int,
    images: int | None,
    broken: "Broken | None",
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Attack a study's largest hospital, and hold what is found against its epsilon.

    Exit code 1 when a claim is refuted.
    """
    studies = [
        _study(base, data=data, seed=seed, images=images) for base in _chosen(recipes, config)
    ]
    from fedward.sims.audit_report import audit_all
    from fedward.sims.audit_words import in_words

    report = audit_all(
        studies,
        out,
        canaries=canaries,
        broken=broken,
        tell=tell_nothing if quiet or as_json else tell,
    )
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        for row in report.rows:
            click.echo(in_words(row))
        click.echo(f"saved: {out}/audit.json, audit.md, audit.png")
    if not report.passes:
        context.exit(1)


def _chosen(recipes: tuple[str, ...], config: Path | None) -> list[Study]:
    from fedward.sims.recipes import recipe as recipe_named
    from fedward.sims.studies import read_study

    if recipes and config:
        raise ConfigError(f"give recipes or --config {config}, not both")
    if config:
        return [read_study(config)]
    if not recipes:
        raise ConfigError(
            "whose claim? name a private recipe with --recipe (`fedward simulate --list`), or a "
            "study with --config"
        )
    return [recipe_named(name) for name in recipes]


def _study(base: Study, *, data: str | None, seed: int | None, images: int | None) -> Study:
    from fedward.sims.studies import customised

    study = customised(base, data=data, seed=seed)
    if images is None:
        return study
    hospitals = study.hospitals.model_copy(update={"images_each": images})
    return study.model_copy(update={"hospitals": hospitals})
