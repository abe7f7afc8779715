"""Score the model of a finished run on any faces."""

import json
from pathlib import Path

from fedward.common.arrays import read_arrays
from fedward.common.errors import DataError, RunError
from fedward.common.face_store import open_faces
from fedward.common.faces import split_name
from fedward.common.result import TestPart
from fedward.server.evaluate import Examiner
from fedward.server.run_directory import RunDirectory
from fedward.sims.sources import cache_folder


def evaluate_run(run: Path, data: Path, split: str) -> TestPart:
    """Scores of ``run``'s model on one split of ``data``, or on "all" its test splits.

    Raises:
        RunError: when the run has no model yet.
        DataError: when the data cannot be used or lacks the split.
    """
    directory = RunDirectory(run)
    try:
        card = json.loads(directory.model_card.read_text(encoding="utf-8"))
        model = str(card["model"])
    except FileNotFoundError:
        raise RunError(
            f"{run} has no model: is it a run directory, and did the run end? "
            f"(`fedward simulate --resume {run}` finishes it)"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{directory.model_card} cannot be read: {error}") from None
    faces = open_faces(data, cache=cache_folder(), training_required=False)
    chosen = faces.training if split == "Training" else faces.test(split)
    if len(chosen) == 0:
        raise DataError(f"{data} has no Training; name a split that it has (--split)")
    examiner = Examiner(model, split_name(split), chosen, cache_folder() / "features")
    return examiner.score(read_arrays(directory.model)).test
