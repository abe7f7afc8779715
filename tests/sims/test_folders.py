"""Who may write a run directory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedward import __version__
from fedward.common.config import Study
from fedward.common.errors import RunError
from fedward.server.run_directory import RunDirectory
from fedward.sims.folders import check_same_data, claim_new, is_finished, locked, study_to_resume

sys.path.insert(0, str(Path(__file__).parent))
from conftest import made_result

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
        (tmp_path / "config.json").write_text("{}")
    assert tmp_path.exists()


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no data"), locked(tmp_path / "new"):  # noqa: PT012
        (tmp_path / "new" / "flower.log").write_text("")
        raise RunError("no data")
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with locked(tmp_path / "mine"):
        pass
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_other_data_cannot_finish_a_run(tmp_path: Path) -> None:
    check_same_data(tmp_path, "abc")
    (tmp_path / "config.json").write_text('{"data_sha256": "abc"}')
    check_same_data(tmp_path, "abc")
    with pytest.raises(RunError, match="begun on other data"):
        check_same_data(tmp_path, "def")


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
    directory = RunDirectory(tmp_path)
    for status in ("running", "failed", "interrupted"):
        directory.write_result(made_result(status))
        assert not is_finished(tmp_path)
    directory.result.write_text('{"status": "completed"}')
    assert not is_finished(tmp_path)  # nothing that could be printed
    directory.write_result(made_result("completed"))
    assert is_finished(tmp_path)
