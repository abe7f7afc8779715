"""The house stands: links lead home, a wheel holds the tree, Flower's bundle holds no code."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import fedward

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("common", "certs", "client", "server", "sims")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clean checkout holds, so that a build leaves nothing in this one."""
    target = tmp_path_factory.mktemp("checkout") / "fedward"
    target.mkdir()
    for entry in (*FOLDERS, "src"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / entry, target / entry, symlinks=True, ignore=ignore)
    for entry in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / entry, target)
    return target


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_link_leads_to_the_folder_at_the_root(folder: str) -> None:
    link = ROOT / "src" / "fedward" / folder
    if os.name == "nt" and not link.is_symlink():
        pytest.skip("checked out without symbolic links")
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_are_flat(folder: str) -> None:
    inner = [path for path in (ROOT / folder).iterdir() if path.is_dir()]
    assert [path.name for path in inner if path.name != "__pycache__"] == []


def test_what_is_imported_is_this_checkout() -> None:
    spec = find_spec("fedward.common.errors")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / "common" / "errors.py"


def test_one_version() -> None:
    assert PYPROJECT["project"]["version"] == fedward.__version__
    assert f"## {fedward.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_wheel_holds_what_the_tree_holds(copy: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr

    (wheel,) = (copy / "dist").glob("fedward-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {entry for entry in archive.namelist() if ".dist-info/" not in entry}
    in_folders = {
        f"fedward/{path.relative_to(copy).as_posix()}"
        for folder in FOLDERS
        for path in (copy / folder).rglob("*")
        if path.is_file()
    }
    assert held == in_folders | {"fedward/__init__.py", "fedward/py.typed"}


def test_the_bundle_that_flower_sends_holds_no_code(copy: Path) -> None:
    flwr = Path(sys.executable).parent / "flwr"
    environment = os.environ | {"FLWR_HOME": str(copy / ".flwr")}
    built = subprocess.run(
        [flwr, "build"], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr

    (bundle,) = copy.glob("*.fab")
    with zipfile.ZipFile(bundle) as archive:
        held = {entry for entry in archive.namelist() if not entry.startswith(".")}
    assert held == {"pyproject.toml", "README.md"}


def test_sourcing_flower_env_keeps_flower_offline(tmp_path: Path) -> None:
    for entry in ("flower.env", "flower.toml"):
        shutil.copy(ROOT / entry, tmp_path)
    shell = subprocess.run(
        ["sh", "-c", ". ./flower.env && env"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    environment = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert Path(environment["FLWR_HOME"]).resolve() == (tmp_path / ".flwr").resolve()
    assert Path(environment["FEDWARD_RUNS"]).is_absolute()
    assert environment["PATH"].split(":")[0].endswith("/.venv/bin")
    config = tomllib.loads((tmp_path / ".flwr" / "config.toml").read_text(encoding="utf-8"))
    assert config["superlink"]["default"] in config["superlink"]


def test_sourcing_flower_env_elsewhere_says_so(tmp_path: Path) -> None:
    shell = subprocess.run(
        ["sh", "-c", f". '{ROOT / 'flower.env'}'; echo $?"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "checkout" in shell.stderr
    assert shell.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []
