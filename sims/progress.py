"""Progress of a run: a bar with the time left on a terminal, plain lines in a log, or nothing."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedward.common.result import RoundPart


def round_line(part: RoundPart, rounds: int) -> str:
    """One line for a log."""
    refused = f", {len(part.refused)} refused" if part.refused else ""
    count = len(part.participants)
    return (
        f"round {part.round}/{rounds}: accuracy {part.accuracy:.1%}, macro-F1 {part.macro_f1:.1%}, "
        f"{count} hospital{'s' if count != 1 else ''}{refused}"
    )


def tell_plainly(part: RoundPart, rounds: int) -> None:
    """Print a round's line to standard error."""
    print(round_line(part, rounds), file=sys.stderr, flush=True)


class Tell:
    """Hears how a run goes. This one says nothing."""

    def reading(self, fraction: float) -> None:
        """A data set is being read for the first time."""

    def round_done(self, part: RoundPart, rounds: int) -> None:
        """A round is finished."""


class TellPlainly(Tell):
    """One line a round on standard error, for logs."""

    def round_done(self, part: RoundPart, rounds: int) -> None:
        """Print the line."""
        tell_plainly(part, rounds)


class TellBar(Tell):
    """A bar with the accuracy so far and the time left, for a terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("preparing", total=None)

    def reading(self, fraction: float) -> None:
        """Move the bar while a data set is read."""
        done = fraction >= 1
        text = "preparing" if done else "reading faces"
        self._bar.update(self._task, description=text, total=None if done else 1.0)
        self._bar.update(self._task, completed=0 if done else fraction)

    def round_done(self, part: RoundPart, rounds: int) -> None:
        """Move the bar; name who was refused."""
        text = f"round {part.round}/{rounds}  accuracy {part.accuracy:.1%}"
        self._bar.update(self._task, description=text, total=rounds, completed=part.round)
        for refusal in part.refused:
            self._bar.console.print(f"round {part.round}: {refusal.hospital}: {refusal.reason}")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Tell]:
    """Who hears how a run goes: nobody, a log, or somebody at a terminal."""
    console = Console(stderr=True)
    if quiet:
        yield Tell()
    elif not console.is_terminal:
        yield TellPlainly()
    else:
        with _bar(console) as bar:
            yield TellBar(bar)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)
