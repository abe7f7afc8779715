"""Who may write a run directory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedward import __version__
from fedward.common.config import Study
from fedward.common.errors import RunError
from fedward.sims.folders import claim_new, is_finished, locked, study_to_resume

HOLD = """
import sys, time
from pathlib import Path
from fedward.sims.folders import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    claim_new(tmp_path / "new")
    (tmp_path / "new" / "config.json").write_text("{}")
    with pytest.raises(RunError, match="--resume"):
        claim_new(tmp_path / "new")


def test_another_process_keeps_its_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process"), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):  # the kernel frees what a killed process held
        pass


def test_resuming_needs_a_run_of_this_version(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"config\.json is missing"):
        study_to_resume(tmp_path)
    config = tmp_path / "config.json"
    config.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        study_to_resume(tmp_path)
    config.write_text(json.dumps({"fedward_version": "0.0.1", "study": {"name": "x"}}))
    with pytest.raises(RunError, match=r"begun by Fedward 0\.0\.1"):
        study_to_resume(tmp_path)
    config.write_text(json.dumps({"fedward_version": __version__, "study": {"name": "x"}}))
    assert study_to_resume(tmp_path) == Study(name="x")


def test_only_a_completed_result_is_finished(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    (tmp_path / "result.json").write_text('{"status": "running"}')
    assert not is_finished(tmp_path)
    (tmp_path / "result.json").write_text('{"status": "completed"}')
    assert is_finished(tmp_path)
