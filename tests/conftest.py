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

os.environ.pop("FEDWARD_VGG16", None)  # tests make weights of their own

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


@pytest.fixture(scope="session")
def vgg16_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG16's shapes, which keep the spread of what they read."""
    import numpy as np

    from fedward.common.arrays import save_arrays
    from fedward.common.vgg_weights import SHAPES

    rng = np.random.default_rng(16)
    arrays = {}
    for name, shape in SHAPES.items():
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        arrays[name] = np.float32(spread) * rng.standard_normal(shape, np.float32)
    path = tmp_path_factory.mktemp("weights") / "vgg16.safetensors"
    save_arrays(path, arrays)
    return path


@pytest.fixture
def vgg16_weights(vgg16_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FEDWARD_VGG16 names the random weights."""
    monkeypatch.setenv("FEDWARD_VGG16", str(vgg16_file))
    return vgg16_file
