"""The command `fedward search`. Parsing and printing only; what it does is in sims/search.py."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from fedward.common.errors import StoppedError
from fedward.sims.bench_cli import PATH, tell, tell_nothing, whole_numbers


@click.command()
@click.argument("recipe", required=False)
@click.option("--config", type=PATH, help="A study as YAML or JSON, instead of a recipe.")
@click.option("--data", help="Faces: fer2013.csv(.gz), a folder, a zip, or 'synthetic'.")
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=V1,V2",
    help="Values to try, such as training.learning_rate=40,60; every combination of several.",
)
@click.option("--seeds", default="0,1,2", show_default=True, callback=whole_numbers)
@click.option("--out", type=PATH, required=True, help="Folder for the choice and for every run.")
@click.option("--json", "as_json", is_flag=True, help="Print search.json alone.")
@click.option("--quiet", is_flag=True, help="No progress.")
def search(
    recipe: str | None,
    config: Path | None,
    data: str | None,
    vary: tuple[str, ...],
    seeds: tuple[int, ...],
    out: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Choose settings of RECIPE on a validation part of Training. Takes hours, resumes."""
    from fedward.sims import search as choose
    from fedward.sims.search_plan import read_variations
    from fedward.sims.studies import chosen_study

    quiet = quiet or as_json
    plan = choose.plan_search(
        chosen_study(recipe, config),
        data=data,
        varied=read_variations(vary),
        seeds=seeds,
        command=command_line(recipe or "", config, data, vary, seeds, out),
    )
    try:
        choose.search(plan, out, tell=tell_nothing if quiet else tell, quiet=quiet)
    except StoppedError:
        click.echo("the same command goes on where it stops here", err=True)
        raise
    kind = "json" if as_json else "md"
    click.echo((out / f"search.{kind}").read_text(encoding="utf-8"), nl=False)
    if not as_json:
        click.echo(f"\nsaved: {out}/{', '.join(choose.NAMES)}")


def command_line(
    recipe: str,
    config: Path | None,
    data: str | None,
    vary: Sequence[str],
    seeds: Sequence[int],
    out: Path,
) -> str:
    """The command line that repeats a choice, with nothing left to a default."""
    words = ["fedward", "search"]
    words += ["--config", str(config)] if config else [recipe]
    words += ["--data", data] if data else []
    for text in vary:
        words += ["--vary", text]
    words += ["--seeds", ",".join(map(str, seeds)), "--out", str(out)]
    return shlex.join(words)
