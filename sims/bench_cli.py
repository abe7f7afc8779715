"""The commands of `fedward bench`. Parsing and printing only; what is measured is elsewhere."""

from pathlib import Path

import click

from fedward.common.errors import StoppedError

PATH = click.Path(path_type=Path)


@click.group()
def bench() -> None:
    """Measure what private training costs: time and memory, or accuracy."""


def whole_numbers(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Different whole numbers with commas between."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words) or len(set(map(int, words))) < len(words):
        raise click.BadParameter(f"{text!r}: give different whole numbers, such as 0,1,2")
    return tuple(map(int, words))


@bench.command("step")
@click.option("--quick", is_flag=True, help="Three cases and few turns: about a minute.")
@click.option("--out", type=PATH, default=Path("bench-step.json"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON alone.")
def bench_step(quick: bool, out: Path, as_json: bool) -> None:
    """Time and memory of one step: plain PyTorch, Opacus's ways, Fedward's."""
    from fedward.common.files import write_text
    from fedward.sims import bench_step as measure

    text = (figures := measure.bench_step(quick=quick, tell=tell)).model_dump_json(indent=2)
    write_text(out, text + "\n")
    if as_json:
        click.echo(text)
        return
    from rich.console import Console

    from fedward.sims.bench_table import table_of

    Console().print(table_of(figures))
    click.echo(f"saved: {out}")


@bench.command("accuracy")
@click.option("--data", required=True, help="FER-2013: fer2013.csv(.gz), a folder or a zip.")
@click.option("--out", type=PATH, required=True, help="Folder for the table and for every run.")
@click.option("--seeds", default="0,1,2", show_default=True, callback=whole_numbers)
@click.option("--recipe", "recipes", multiple=True, help="Only this row; may be repeated.")
@click.option(
    "--split",
    default="PublicTest",
    show_default=True,
    type=click.Choice(["PublicTest", "PrivateTest", "all"]),
    help="What scores the models; all is both together.",
)
@click.option("--json", "as_json", is_flag=True, help="Print accuracy.json alone.")
@click.option("--quiet", is_flag=True, help="No progress.")
def bench_accuracy(
    data: str,
    out: Path,
    seeds: tuple[int, ...],
    recipes: tuple[str, ...],
    split: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """The table of accuracies: every recipe with every seed. Takes hours, resumes."""
    from fedward.sims import bench_accuracy as measure

    quiet = quiet or as_json
    names, left_out = (recipes, None) if recipes else measure.rows_here()
    if left_out:
        click.echo(left_out, err=True)
    studies = measure.planned(names, data=data, seeds=seeds, split=split)
    try:
        measure.bench_accuracy(studies, out, tell=tell_nothing if quiet else tell, quiet=quiet)
    except StoppedError:
        click.echo("the same command goes on where it stops here", err=True)
        raise
    kind = "json" if as_json else "md"
    click.echo((out / f"accuracy.{kind}").read_text(encoding="utf-8"), nl=False)
    if not as_json:
        click.echo(f"\nsaved: {out}/accuracy.json, accuracy.md, accuracy.png")


def tell(what: str, number: int, cases: int) -> None:
    """One line of progress: what begins, its number from 0, and how many there are."""
    click.echo(f"[{number + 1}/{cases}] {what}", err=True)


def tell_nothing(what: str, number: int, cases: int) -> None:
    """For --quiet."""
