"""Where a simulated study's faces come from, and where what is computed from them is kept."""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from fedward.common.config import DataConfig
from fedward.common.face_store import open_faces
from fedward.common.faces import FaceData
from fedward.common.seeds import derive
from fedward.sims.synthetic import synthetic_faces

_drawn = lru_cache(maxsize=1)(synthetic_faces)  # a run opens its source more than once


def cache_folder() -> Path:
    """Where parsed data sets and features are kept: FEDWARD_CACHE, or the user's cache folder."""
    named = os.environ.get("FEDWARD_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path(base or Path.home() / ".cache") / "fedward"


def open_source(
    data: DataConfig, seed: int, progress: Callable[[float], None] | None = None
) -> FaceData:
    """The faces that a study names; ``progress`` hears of a first reading.

    Raises:
        DataError: when they cannot be used.
    """
    if data.source == "synthetic":
        return _drawn(
            patients=data.synthetic_patients,
            images_per_patient=data.synthetic_images_per_patient,
            seed=derive(seed, "synthetic"),
        )
    return open_faces(Path(data.source), cache=cache_folder(), progress=progress)
