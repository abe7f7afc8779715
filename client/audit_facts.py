"""What stands in an audit's JSON file, as lines of the report: numbers, words, yes and no.

The file is somebody else's. Its form is not known here: names lead to their values, through what
lies inside each other, and what is too much or looks like a path is left out.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from fedward.client.budget_report import AuditPart, Fact
from fedward.common.errors import ConfigError

MOST_FACTS = 60
MOST_LETTERS = 200
MOST_BYTES = 10_000_000


def read_audit(path: Path) -> AuditPart:
    """The facts of an audit. Raises ConfigError when the file is no JSON object."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
        document = json.loads(content)
    except OSError as error:
        raise ConfigError(f"cannot read the audit {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no audit: give the JSON file that the audit wrote")
    found = tuple(_facts("", document))[:MOST_FACTS]
    return AuditPart(sha256=hashlib.sha256(content).hexdigest(), facts=found)


def _facts(name: str, value: object) -> Iterator[Fact]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _facts(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _facts(f"{name}.{number}", inner)
    elif (text := _told(value)) is not None:
        yield Fact(name=name[:MOST_LETTERS], value=text)


def _told(value: object) -> str | None:
    """A value as a person reads it; None for one that is not shown."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and len(value) <= MOST_LETTERS and not set(value) & set("/\\"):
        return value
    return None
