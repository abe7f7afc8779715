"""Progress of a run: a bar with the time left on a terminal, plain lines in a log, or nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedward.common.result import RoundPart

Tell = Callable[[RoundPart, int], None]


def round_line(part: RoundPart, rounds: int) -> str:
    """One line for a log."""
    refused = f", {len(part.refused)} refused" if part.refused else ""
    return (
        f"round {part.round}/{rounds}: accuracy {part.accuracy:.1%}, macro-F1 {part.macro_f1:.1%}, "
        f"{len(part.participants)} hospitals{refused}"
    )


def tell_plainly(part: RoundPart, rounds: int) -> None:
    """Print a round's line to standard error."""
    print(round_line(part, rounds), file=sys.stderr, flush=True)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """What to call with every finished round."""
    console = Console(stderr=True)
    if quiet:
        yield lambda part, rounds: None
    elif not console.is_terminal:
        yield tell_plainly
    else:
        with _bar(console) as bar:
            task = bar.add_task("preparing", total=None)

            def tell(part: RoundPart, rounds: int) -> None:
                text = f"round {part.round}/{rounds}  accuracy {part.accuracy:.1%}"
                bar.update(task, description=text, total=rounds, completed=part.round)
                for refusal in part.refused:
                    bar.console.print(f"round {part.round}: {refusal.hospital}: {refusal.reason}")

            yield tell


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
