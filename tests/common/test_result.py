"""The contract of result.json is the one that is shipped."""

import json
from pathlib import Path

from fedward.common.result import Result

SHIPPED = Path(__file__).parents[2] / "docs" / "result.schema.json"


def test_the_shipped_schema_is_the_one_in_force() -> None:
    assert json.loads(SHIPPED.read_text()) == Result.model_json_schema()
