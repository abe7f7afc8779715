"""The run directory: everything a run leaves behind, valid at every moment.

    config.json         everything resolved: the study, the data's hash, the version
    result.json         the contract of common/result.py, rewritten after every round
    metrics.jsonl       one line a round, as it happens
    ledgers/, consents/  of simulated hospitals: their budgets, and who may be used
    checkpoint.safetensors   the aggregator's state after the last round, with the rounds so far
    model.safetensors, model.json, figures/, report.html     when the run ends

Every file but metrics.jsonl appears by rename of a complete, synced temporary file, so a crash
at any moment leaves the old file or the new one. metrics.jsonl is rewritten from the checkpoint
on resume, which drops a torn last line.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedward.common.arrays import Arrays
from fedward.common.errors import RunError
from fedward.common.files import unwritable, write_text, writing
from fedward.common.result import Result, RoundPart
from fedward.server.aggregate import ServerState


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write JSON atomically. Raises RunError as ``writing`` does."""
    write_text(path, json.dumps(document, indent=2) + "\n")


class RunDirectory:
    """One run's folder. Only this class knows the names of its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figures = path / "figures"
        self.report = path / "report.html"
        self.config = path / "config.json"
        self.result = path / "result.json"
        self.metrics = path / "metrics.jsonl"
        self.model = path / "model.safetensors"
        self.model_card = path / "model.json"
        self._checkpoint = path / "checkpoint.safetensors"

    @property
    def name(self) -> str:
        """The run's name in orders and ledgers: the folder's, in letters that names may have."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.path.resolve().name).lstrip("._-")
        return name[:100] or "run"

    def write_result(self, result: Result) -> None:
        """Replace result.json."""
        write_text(self.result, result.model_dump_json(indent=2) + "\n")

    def read_result(self) -> Result | None:
        """result.json, None where there is none that this version can read."""
        try:
            return Result.model_validate_json(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def append_metrics(self, part: RoundPart) -> None:
        """Add one line to metrics.jsonl."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(part.model_dump_json() + "\n")
        except OSError as error:
            raise unwritable(self.metrics, error) from None

    def rewrite_metrics(self, rounds: list[RoundPart]) -> None:
        """Make metrics.jsonl hold exactly these rounds."""
        write_text(self.metrics, "".join(part.model_dump_json() + "\n" for part in rounds))

    def write_checkpoint(self, state: ServerState, rounds: list[RoundPart]) -> None:
        """Replace the checkpoint: state and history in one file, so that they never disagree."""
        tensors = {f"arrays/{name}": array for name, array in state.arrays.items()}
        tensors |= {f"momentum/{name}": array for name, array in (state.momentum or {}).items()}
        tensors |= {f"average/{name}": array for name, array in (state.average or {}).items()}
        history = {
            "round": str(state.round),
            "averaged": str(state.averaged),
            "rounds": json.dumps([part.model_dump(mode="json") for part in rounds]),
        }
        with writing(self._checkpoint) as temporary:
            temporary.write_bytes(save(tensors, metadata=history))

    def read_checkpoint(self) -> tuple[ServerState, list[RoundPart]] | None:
        """The last checkpoint, None when there is none. Raises RunError when it is damaged."""
        if not self._checkpoint.exists():
            return None
        groups: dict[str, Arrays] = {"arrays": {}, "momentum": {}, "average": {}}
        try:
            with safe_open(self._checkpoint, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    group, name = key.split("/", 1)
                    groups[group][name] = np.asarray(file.get_tensor(key), dtype=np.float32)
                history = file.metadata()
            rounds = [RoundPart.model_validate(part) for part in json.loads(history["rounds"])]
            state = ServerState(
                round=int(history["round"]),
                arrays=groups["arrays"],
                momentum=groups["momentum"] or None,
                average=groups["average"] or None,
                averaged=int(history["averaged"]),
            )
        except (SafetensorError, ValueError, KeyError, OSError) as error:
            raise RunError(
                f"{self._checkpoint} is damaged ({error}); remove it to begin the run again"
            ) from None
        return state, rounds

    def drop_checkpoint(self) -> None:
        """A finished run needs none."""
        self._checkpoint.unlink(missing_ok=True)
