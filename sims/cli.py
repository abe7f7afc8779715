"""The command `fedward`. Parsing and printing only; what a command does is elsewhere.

Results go to standard output (with --json as JSON alone), everything else to standard error.
Exit codes: 0 done, 1 an error that the message explains, 2 a wrong command line, 130 interrupted.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from fedward import __version__
from fedward.client.report_cli import report
from fedward.common.errors import ConfigError, FedwardError, StoppedError
from fedward.sims.audit_cli import audit
from fedward.sims.bench_cli import bench
from fedward.sims.plan_cli import budget_with_recipes, plan
from fedward.sims.search_cli import search

BEGAN = time.monotonic()
PATH = click.Path(path_type=Path)


class Commands(click.Group):
    """Shows the errors that a user can cause as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except FedwardError as error:
            click.echo(f"fedward: {error}", err=True)
            ctx.exit(130 if isinstance(error, StoppedError) else 1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Federated emotion recognition for hospitals: the data stays, the model travels."""


@main.command()
@click.argument("recipe", required=False)
@click.option("--data", type=str, help="Faces: fer2013.csv(.gz), a folder, a zip, or 'synthetic'.")
@click.option("--hospitals", type=click.IntRange(1), help="How many hospitals.")
@click.option("--rounds", type=click.IntRange(1), help="How many rounds.")
@click.option("--model", help="Such as compact-cnn, lstm or scatter; see docs.")
@click.option("--epsilon", type=click.FloatRange(0), help="Privacy target; 0 trains without.")
@click.option("--seed", type=click.IntRange(0), help="Of everything random.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Hospitals at a time; 0: cores.")
@click.option("--engine", type=click.Choice(["fedward", "ray"]), default="fedward")
@click.option("--out", type=PATH, help="Run directory; default runs/<time>-<recipe>.")
@click.option("--resume", type=PATH, help="Finish the interrupted run in this directory.")
@click.option("--ledgers", type=PATH, help="Go on with the privacy ledgers in this folder.")
@click.option("--consents", type=PATH, help="A folder with NAME.csv: whose data may be used.")
@click.option(
    "--baselines",
    type=click.Choice(["none", "pooled", "all"]),
    help="Also train on pooled data, and (all) each hospital alone.",
)
@click.option("--test-split", type=click.Choice(["PublicTest", "PrivateTest", "all", "validation"]))
@click.option("--config", type=PATH, help="A study as YAML or JSON, instead of a recipe.")
@click.option("--list", "list_recipes", is_flag=True, help="List the recipes and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print result.json alone.")
@click.option("--quiet", is_flag=True, help="No progress.")
def simulate(
    recipe: str | None,
    data: str | None,
    hospitals: int | None,
    rounds: int | None,
    model: str | None,
    epsilon: float | None,
    seed: int | None,
    workers: int,
    engine: str,
    out: Path | None,
    resume: Path | None,
    ledgers: Path | None,
    consents: Path | None,
    baselines: str | None,
    test_split: str | None,
    config: Path | None,
    list_recipes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Simulate a consortium of hospitals, by RECIPE (default: demo)."""
    from fedward.sims.folders import claim_new, default_folder, is_finished, locked, study_to_resume
    from fedward.sims.ledgers import bring_along, check_folders
    from fedward.sims.progress import progress
    from fedward.sims.recipes import recipe as recipe_named
    from fedward.sims.simulate import simulate as run
    from fedward.sims.studies import check_weights, customised, read_study

    if list_recipes:
        _print_recipes(as_json)
        return
    overrides = (data, hospitals, rounds, model, epsilon, seed, baselines, test_split)
    if resume is not None:
        chosen = (recipe, config, out, ledgers, consents, *overrides)
        if any(value is not None for value in chosen):
            raise ConfigError("--resume goes on with what the run was begun with: give it alone")
        if is_finished(resume):
            _print_result(resume, as_json)
            return
        study, folder = study_to_resume(resume), resume
    else:
        if recipe and config:
            raise ConfigError(f"--config {config} is a study: give it or the recipe {recipe}")
        base = read_study(config) if config else recipe_named(recipe or "demo")
        study = customised(
            base,
            data=data,
            hospitals=hospitals,
            rounds=rounds,
            model=model,
            epsilon=epsilon,
            seed=seed,
            baselines=baselines,
            test_split=test_split,
        )
        study = check_folders(study, ledgers=ledgers, consents=consents)
        folder = out or default_folder(study.name)
    check_weights(study)
    if resume is None:
        claim_new(folder)
        bring_along(folder, ledgers=ledgers, consents=consents)

    try:
        with locked(folder), progress(quiet=quiet or as_json) as tell:
            run(study, folder, workers=workers, engine=engine, began=BEGAN, tell=tell)
    except StoppedError:
        click.echo(f"`fedward simulate --resume {folder}` goes on where it stops here", err=True)
        raise
    _print_result(folder, as_json)


@main.command()
@click.argument("run", type=PATH)
@click.option("--data", required=True, type=PATH, help="Faces, in any format that Fedward reads.")
@click.option(
    "--split",
    default="PublicTest",
    type=click.Choice(["Training", "PublicTest", "PrivateTest", "all"]),
    help="`all` is PublicTest and PrivateTest together.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON alone.")
def evaluate(run: Path, data: Path, split: str, as_json: bool) -> None:
    """Score the model of a finished RUN on any data."""
    from fedward.sims.evaluate_run import evaluate_run

    test = evaluate_run(run, data, split)
    if as_json:
        click.echo(test.model_dump_json(indent=2))
        return
    click.echo(f"{test.split}: accuracy {test.accuracy:.2%}, macro-F1 {test.macro_f1:.2%}")
    for name, part in test.per_class.items():
        click.echo(
            f"  {name:9} precision {part.precision:6.1%}  recall {part.recall:6.1%}  "
            f"F1 {part.f1:6.1%}  ({part.support} images)"
        )


@main.group()
def data() -> None:
    """Look into data sets."""


@data.command("check")
@click.argument("path", type=PATH)
@click.option("--sheet", type=PATH, default=Path("contact-sheet.png"), help="Contact sheet PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON alone.")
def data_check(path: Path, sheet: Path, as_json: bool) -> None:
    """Tell what is in the data set PATH, and what will be left out."""
    from fedward.common.face_store import open_faces
    from fedward.sims.data_check import contact_sheet, inspect, render
    from fedward.sims.sources import cache_folder

    report = inspect(path, cache=cache_folder())
    contact_sheet(open_faces(path, cache=cache_folder(), training_required=False), sheet)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
        return
    from rich.console import Console

    Console().print(render(report))
    click.echo(f"contact sheet: {sheet}")


main.add_command(audit)
main.add_command(bench)
main.add_command(budget_with_recipes)
main.add_command(plan)
main.add_command(report)
main.add_command(search)


@main.command()
def schema() -> None:
    """Print the JSON Schema of result.json."""
    from fedward.common.result import Result

    click.echo(json.dumps(Result.model_json_schema(), indent=2))


def _print_recipes(as_json: bool) -> None:
    from fedward.sims.recipes import RECIPES

    described = {name: (make.__doc__ or "").split("\n")[0] for name, make in RECIPES.items()}
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    width = max(map(len, described))
    for name, text in described.items():
        click.echo(f"{name:{width}}  {text}")


def _print_result(folder: Path, as_json: bool) -> None:
    from fedward.common.result import Result
    from fedward.server.run_directory import RunDirectory

    directory = RunDirectory(folder)
    text = directory.result.read_text(encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
        return
    result = Result.model_validate_json(text)
    if result.test is not None:
        click.echo(
            f"{result.test.split}: accuracy {result.test.accuracy:.2%}, macro-F1 "
            f"{result.test.macro_f1:.2%}, {result.seconds.total:.0f} s"
        )
    epsilons = [h.epsilon for h in result.hospitals if h.epsilon is not None]
    if epsilons:
        unit = result.privacy.unit if result.privacy else "image"
        click.echo(
            f"epsilon at most {max(epsilons):.3g} per hospital (unit: one {unit}; simulated)"
        )
    else:
        click.echo("trained without differential privacy")
    click.echo(f"report: {directory.report}")


if __name__ == "__main__":
    sys.exit(main())
