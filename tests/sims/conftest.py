"""A tiny study and a way to run the command as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fedward import __version__
from fedward.common.result import Result, TestPart

TINY = {
    "name": "tiny",
    "seed": 1,
    "data": {"synthetic_patients": 60, "synthetic_images_per_patient": 3},
    "hospitals": {"count": 3, "alpha": 1.0, "size_sigma": 0.3, "cameras": ["clean", "dim-ward"]},
    "training": {"model": "lstm", "batch_size": 16, "learning_rate": 0.005},
    "rounds": {"count": 4, "average_from": 0.5},
}

SECONDS = dict.fromkeys(("data", "train", "aggregate", "evaluate", "engine", "startup"), 0.0)

Fedward = Callable[..., subprocess.CompletedProcess[str]]


def made_result(
    status: str, *, seed: int = 0, test: TestPart | None = None, total: float = 0.0
) -> Result:
    """The least that result.json holds, without running anything."""
    data = dict.fromkeys(("training", "test", "duplicates_removed", "conflicting_labels"), 0)
    return Result.model_validate(
        {
            "fedward_version": __version__,
            "status": status,
            "seed": seed,
            "recipe": {},
            "data": {"source": "synthetic", "sha256": "0", **data},
            "hospitals": [],
            "skew": {"hellinger_mean": 0, "hellinger_max": 0, "size_gini": 0},
            "privacy": None,
            "rounds": [],
            "test": test,
            "baselines": {},
            "seconds": {"total": total, **SECONDS},
        }
    )


def command(*arguments: str | Path) -> list[str]:
    """The command line of `fedward` in this environment."""
    return [sys.executable, "-m", "fedward.sims.cli", *map(str, arguments)]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this session's own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def fedward(cache: Path) -> Fedward:
    """Run `fedward` with arguments, in a process of its own."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "FEDWARD_CACHE": str(cache)},
        )

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study as a file."""
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture(scope="session")
def finished(fedward: Fedward, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the tiny study, by one worker."""
    folder = tmp_path_factory.mktemp("runs") / "one-worker"
    done = fedward("simulate", "--config", tiny, "--out", folder, "--workers", "1")
    assert done.returncode == 0, done.stderr
    return folder
