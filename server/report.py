"""The report of a run: one HTML file that needs nothing else. What it says is in report_words.py.

Figures are embedded, styles are inline, there is no script, and a content security policy keeps
the page from fetching anything. Everything that comes from outside is escaped.
"""

import base64
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Template

from fedward.common.config import parse_study
from fedward.common.faces import EMOTIONS
from fedward.common.files import write_text
from fedward.common.page import page_template
from fedward.common.result import Result
from fedward.server import report_words as words


def write_report(result: Result, figures: Path, path: Path) -> None:
    """Write the report of a result, with the figures that its folder holds.

    Raises:
        ConfigError: the result's recipe is not a study of this version.
        RunError: the file cannot be written; what stood there before is as it was.
    """
    write_text(path, render_report(result, embedded(figures)))


def embedded(folder: Path) -> dict[str, str]:
    """The PNG files of a folder as data URIs, by name without ending; none without a folder."""
    return {
        path.stem: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        for path in sorted(folder.glob("*.png"))
    }


def render_report(result: Result, figures: Mapping[str, str]) -> str:
    """The report as HTML; ``figures`` are data URIs by figure name, missing ones are left out.

    Raises:
        ConfigError: the result's recipe is not a study of this version.
    """
    return _template().render(
        result=result,
        study=parse_study(result.recipe),
        figures=figures,
        emotions=EMOTIONS,
        recipe_json=json.dumps(result.recipe, indent=2, ensure_ascii=False),
        time_table=time_table(result),
        deltas=sorted({h.delta for h in result.hospitals if h.delta is not None}),
        words=words,
    )


def time_table(result: Result) -> list[tuple[str, float, float]]:
    """Parts of the wall-clock time in seconds, with their share of the total."""
    seconds = result.seconds
    parts = [
        ("Start-up, until the first order", seconds.startup),
        ("Data: reading, dealing, inputs of the test set", seconds.data),
        ("Training at the hospitals", seconds.train),
        ("Aggregation", seconds.aggregate),
        ("Evaluation", seconds.evaluate),
        ("Engine: dispatch, transport, polling", seconds.engine),
    ]
    rest = seconds.total - sum(part for _, part in parts)
    if rest > 0.05:
        parts.append(("All else: baselines, figures, this report", rest))
    return [(name, part, part / seconds.total if seconds.total else 0.0) for name, part in parts]


@cache
def _template() -> Template:
    return page_template("fedward.server", "report.html")
