"""An audit's verdict, out of the audit.json that it wrote.

Of every row only the claim, the crafted patients and the bounds are taken. How well images of the
hospital are told from others stands there too; that is a number about patients, and stays.
"""

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from fedward.client.budget_report import AuditLine, AuditPart
from fedward.common.errors import ConfigError

MOST_BYTES = 10_000_000


def read_audit(path: Path) -> AuditPart:
    """What an audit found. Raises ConfigError when the file is none of an audit."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES)
        rows = json.loads(content)["rows"]
        lines = [{name: row.get(name) for name in AuditLine.model_fields} for row in rows]
        found = tuple(AuditLine.model_validate(line) for line in lines)
    except OSError as error:
        raise ConfigError(f"cannot read the audit {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
        raise ConfigError(f"{path} is no audit: give the audit.json that the audit wrote") from None
    return AuditPart(sha256=hashlib.sha256(content).hexdigest(), lines=found)
