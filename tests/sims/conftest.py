"""A tiny study and a way to run the command as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

TINY = {
    "name": "tiny",
    "seed": 1,
    "data": {"synthetic_patients": 60, "synthetic_images_per_patient": 3},
    "hospitals": {"count": 3, "alpha": 1.0, "size_sigma": 0.3, "cameras": ["clean", "dim-ward"]},
    "training": {"model": "lstm", "batch_size": 16, "learning_rate": 0.005},
    "rounds": {"count": 4, "average_from": 0.5},
}

Fedward = Callable[..., subprocess.CompletedProcess[str]]


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
