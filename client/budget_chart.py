"""Epsilon over time as an inline drawing (SVG): steps, a budget, and marks of refused rounds.

It takes its colours from the page's styles, so it is dark where the page is, and prints.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup, escape

WIDTH, HEIGHT = 760.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 14.0, 18.0, 34.0
_DAY = 86_400.0


@dataclass(frozen=True)
class Steps:
    """A value that stays until it changes.

    Attributes:
        style: the class by which the page's styles know it.
        points: times (ISO, UTC) in order, and the value from then on.
        filled: whether what is below is shaded.
    """

    style: str
    points: Sequence[tuple[str, float]]
    filled: bool = False


@dataclass(frozen=True)
class Frame:
    """From which time to which (in seconds), and from 0 to which value."""

    begin: float
    end: float
    top: float

    def x(self, time: str) -> float:
        """Where a time is."""
        share = (seconds(time) - self.begin) / (self.end - self.begin)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value is."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def drawn(
    lines: Sequence[Steps], *, until: str, told: str, marks: Iterable[str] = (), percent: bool
) -> Markup:
    """The drawing.

    Args:
        lines: at least one, each with at least one point.
        until: where time ends.
        told: what it shows, for those who do not see it.
        marks: times at which something was refused.
        percent: whether values are shares, to be written in per cent.
    """
    frame = _frame(lines, until)
    parts = [*_grid(frame, percent), *(_steps(line, frame) for line in lines)]
    places = sorted({round(frame.x(time)) for time in marks})
    base = frame.y(0)
    parts += [f'<path class="refused" d="M{x - 4} {base - 4}l8 8m0 -8l-8 8"/>' for x in places]
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(told)}">'
        f"{''.join(parts)}</svg>"
    )


def seconds(time: str) -> float:
    """A time of the ledger as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


def ticks(top: float, *, most: int = 6) -> list[float]:
    """Round values from 0 to at least ``top``, at most so many steps of 1, 2 or 5 times a power of
    ten apart."""
    size = 10.0 ** math.floor(math.log10(top / most))
    step = next(size * times for times in (1, 2, 5, 10) if size * times * most >= top)
    return [step * place for place in range(math.ceil(top / step - 1e-9) + 1)]


def _frame(lines: Sequence[Steps], until: str) -> Frame:
    begin = min(seconds(time) for line in lines for time, _ in line.points)
    end = max(seconds(until), *(seconds(time) for line in lines for time, _ in line.points))
    highest = max(value for line in lines for _, value in line.points)
    return Frame(begin, max(end, begin + 60), ticks(highest or 1.0)[-1])


def _grid(frame: Frame, percent: bool) -> Iterable[str]:
    for value in ticks(frame.top):
        y = frame.y(value)
        text = f"{value:.0%}" if percent else f"{value:g}"
        yield f'<path class="grid" d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"/>'
        yield f'<text x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    span = frame.end - frame.begin
    form = "%-d %b, %H:%M" if span < 2 * _DAY else "%-d %b %Y"
    before = ""
    for share, anchor in ((0.0, "start"), (1 / 3, "middle"), (2 / 3, "middle"), (1.0, "end")):
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=frame.begin + share * span)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        text = f"{moment:{form}}"
        if text != before:
            yield f'<text x="{x:.1f}" y="{HEIGHT - 8:g}" text-anchor="{anchor}">{text}</text>'
        before = text


def _steps(line: Steps, frame: Frame) -> str:
    first, *others = line.points
    path = f"M{frame.x(first[0]):.1f} {frame.y(first[1]):.1f}"
    path += "".join(f"H{frame.x(time):.1f}V{frame.y(value):.1f}" for time, value in others)
    path += f"H{WIDTH - RIGHT:g}"
    shade = ""
    if line.filled:
        close = f"V{frame.y(0):.1f}H{frame.x(first[0]):.1f}Z"
        shade = f'<path class="{line.style} shade" d="{path}{close}"/>'
    return f'{shade}<path class="{line.style}" d="{path}"/>'
