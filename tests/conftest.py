"""What all tests share: no telemetry, no screen, no time limit per example, real data if any."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Before anything imports torch, matplotlib or Flower.
os.environ.update(
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    FLWR_TELEMETRY_ENABLED="0",
    FLWR_DISABLE_UPDATE_CHECK="1",
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION="1",
    RAY_USAGE_STATS_ENABLED="0",
)

# A background job of a shell ignores Ctrl-C and hands that on; tests of Ctrl-C need it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is slow now and then; that is no failure of a property.
settings.register_profile("fedward", deadline=None)
settings.load_profile("fedward")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data: FEDWARD_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("FEDWARD_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set FEDWARD_DATA to a folder that holds fer2013/")
    return folder
