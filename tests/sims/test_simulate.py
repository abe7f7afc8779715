"""`fedward simulate` as a user runs it: real processes, files on disk, interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from fedward.common.arrays import read_arrays, save_arrays
from fedward.common.config import Study
from fedward.common.noise import plan_noise
from fedward.common.result import Result
from fedward.sims.cli import main
from fedward.sims.partition import declared_size

sys.path.insert(0, str(Path(__file__).parent))
from conftest import TINY, Fedward, command

SCHEMA = Path(__file__).parents[2] / "docs" / "result.schema.json"


def result(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


def test_a_run_directory_is_complete(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {
        "config.json",
        "result.json",
        "metrics.jsonl",
        "model.safetensors",
        "model.json",
        "figures",
        "report.html",
    } <= names
    assert "checkpoint.safetensors" not in names
    assert not [name for name in names if name.startswith(".") and name != ".lock"]
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert {"learning_curves.png", "confusion.png", "hospitals.png", "samples.png"} <= figures
    assert len((finished / "metrics.jsonl").read_text().splitlines()) == 4


def test_result_json_keeps_the_contract(finished: Path) -> None:
    document = result(finished)
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    told = Result.model_validate(document)
    assert told.status == "completed"
    assert told.test is not None
    assert sum(map(sum, told.test.confusion)) == told.data.test
    assert sum(h.examples for h in told.hospitals) == told.data.training
    assert all(sum(h.label_counts) == h.examples for h in told.hospitals)
    assert {h.camera for h in told.hospitals} == {"clean", "dim-ward"}
    assert [part.round for part in told.rounds] == [1, 2, 3, 4]
    assert told.rounds[-1].accuracy == told.test.accuracy
    assert told.seconds.train > 0
    assert told.seconds.data > 0
    assert told.seconds.startup > 0
    parts = told.seconds.data + told.seconds.startup + told.seconds.train
    assert told.seconds.total >= parts


def test_two_workers_give_the_same_numbers(
    fedward: Fedward, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    done = fedward("simulate", "--config", tiny, "--out", tmp_path / "r", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert result(tmp_path / "r")["test"] == result(finished)["test"]
    ours, theirs = (path / "model.safetensors" for path in (tmp_path / "r", finished))
    assert ours.read_bytes() == theirs.read_bytes()


def test_another_seed_gives_other_numbers_and_json_is_alone(
    fedward: Fedward, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    arguments = ("simulate", "--config", tiny, "--seed", "2", "--out", tmp_path / "r", "--json")
    done = fedward(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document == result(tmp_path / "r")
    assert document["seed"] == 2
    assert document["test"] != result(finished)["test"]


def test_kill_minus_nine_and_resume_give_the_same_numbers(
    fedward: Fedward, finished: Path, tiny: Path, tmp_path: Path, cache: Path
) -> None:
    folder = tmp_path / "r"
    process = subprocess.Popen(
        command("simulate", "--config", tiny, "--out", folder),
        env={**os.environ, "FEDWARD_CACHE": str(cache)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _wait_for_rounds(folder, 2)
    process.kill()
    process.wait()
    half = result(folder)
    assert half["status"] == "running"
    jsonschema.validate(half, json.loads(SCHEMA.read_text()))

    done = fedward("simulate", "--resume", folder)
    assert done.returncode == 0, done.stderr
    whole = result(folder)
    assert whole["status"] == "completed"
    assert whole["test"] == result(finished)["test"]
    assert [part["accuracy"] for part in whole["rounds"]] == [
        part["accuracy"] for part in result(finished)["rounds"]
    ]
    again = fedward("simulate", "--resume", folder)
    assert again.returncode == 0
    assert "report:" in again.stdout


def test_a_polite_stop_says_interrupted(
    fedward: Fedward, tiny: Path, tmp_path: Path, cache: Path
) -> None:
    folder = tmp_path / "r"
    process = subprocess.Popen(
        command("simulate", "--config", tiny, "--rounds", "500", "--out", folder),
        env={**os.environ, "FEDWARD_CACHE": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for_rounds(folder, 1)
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in printed
    assert result(folder)["status"] == "interrupted"


def _wait_for_rounds(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    metrics = folder / "metrics.jsonl"
    while time.monotonic() < deadline:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    pytest.fail("the run did not get that far")


def test_baselines_stand_beside_the_run(fedward: Fedward, tiny: Path, tmp_path: Path) -> None:
    arguments = ("--config", tiny, "--rounds", "1", "--baselines", "all", "--epsilon", "20")
    done = fedward("simulate", *arguments, "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    told = Result.model_validate(result(tmp_path / "r"))
    assert told.baselines.pooled is not None
    assert set(told.baselines.alone) == {h.name for h in told.hospitals}
    assert told.privacy is not None
    epsilons = [h.epsilon for h in told.hospitals]
    assert all(e is not None and 15 < e <= 20 for e in epsilons)


@pytest.mark.parametrize("epsilon", ["0", "8"])
def test_vgg16_trains_at_hospitals_and_its_weights_belong_to_the_model(
    fedward: Fedward,
    tiny: Path,
    cache: Path,
    tmp_path: Path,
    vgg16_weights: Path,
    epsilon: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "r"
    few = ("--config", tiny, "--rounds", "3", "--epsilon", epsilon, "--model", "vgg16")
    done = fedward("simulate", *few, "--workers", "2", "--out", folder)
    assert done.returncode == 0, done.stderr
    told = Result.model_validate(result(folder))
    assert [len(part.participants) for part in told.rounds] == [3, 3, 3]
    assert (folder / "hospitals.log").read_text() == ""
    assert {h.epsilon is None for h in told.hospitals} == {epsilon == "0"}
    if told.privacy is not None:
        assert "photographs of ImageNet" in told.privacy.assumptions[0]
    trained = read_arrays(folder / "model.safetensors")
    assert {"mean", "weight", "bias"} < trained.keys()
    assert trained["weight"].any()

    monkeypatch.setenv("FEDWARD_CACHE", str(cache))
    csv = tmp_path / "faces.csv"
    csv.write_text(f"emotion,pixels,Usage\n3,{' '.join(['7', '200'] * 1152)},PublicTest\n")
    evaluate = ["evaluate", str(folder), "--data", str(csv)]
    assert CliRunner().invoke(main, evaluate).exit_code == 0
    other = read_arrays(vgg16_weights)
    other["features.0.bias"][0] += 1
    save_arrays(tmp_path / "other.safetensors", other)
    for file, message in (
        (tmp_path / "other.safetensors", "is there instead"),
        ("", "set FEDWARD"),
    ):
        monkeypatch.setenv("FEDWARD_VGG16", str(file))
        refused = CliRunner().invoke(main, evaluate)
        assert refused.exit_code == 1
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("model", ["lstm", "scatter"])
def test_a_study_per_patient_from_a_file_to_its_report(
    fedward: Fedward, tmp_path: Path, model: str
) -> None:
    """Forty patients with three images each: sizes, noise and words are about patients."""
    folder, path = tmp_path / "r", tmp_path / "study.yaml"
    privacy = {"epsilon": 6, "delta": 0.002, "unit": "patient", "records_per_patient": 2}
    training = {"model": model, "batch_size": 8, "learning_rate": 0.01}
    study = {**TINY, "training": training, "privacy": privacy, "rounds": {"count": 2}}
    path.write_text(yaml.safe_dump(study))
    done = fedward("simulate", "--config", path, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "(unit: one patient; simulated)" in done.stdout
    assert (folder / "hospitals.log").read_text() == ""
    told = Result.model_validate(result(folder))
    assert told.privacy is not None
    assert told.privacy.unit == "patient"
    assert any("at most 2 images" in said for said in told.privacy.assumptions)
    assert not any("one image" in said for said in told.privacy.assumptions)
    for part in told.hospitals:
        assert part.patients is not None
        assert part.examples == 3 * part.patients
        plan = plan_noise(Study.model_validate(told.recipe), declared_size(part.patients))
        assert plan is not None
        assert part.noise_multiplier == plan.step
        assert part.epsilon == plan.epsilon([1, 2], delta=0.002) <= 6
    report = (folder / "report.html").read_text()
    assert "One patient of one hospital" in report
    assert "one image" not in report


def test_a_delta_that_is_too_large_for_the_patients_is_refused(
    fedward: Fedward, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        yaml.safe_dump({**TINY, "privacy": {"epsilon": 6, "unit": "patient", "delta": 0.09}})
    )
    refused = fedward("simulate", "--config", path, "--out", tmp_path / "r")
    assert refused.returncode == 1
    assert "privacy.delta is 0.09, which is not below one in the" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_evaluate_scores_a_finished_model(fedward: Fedward, finished: Path, tmp_path: Path) -> None:
    csv = tmp_path / "faces.csv"
    rows = [
        f"{k},{' '.join(str((i * k) % 256) for i in range(2304))},PrivateTest" for k in range(7)
    ]
    csv.write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    done = fedward("evaluate", finished, "--data", csv, "--split", "PrivateTest", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["split"] == "PrivateTest"
    assert sum(map(sum, document["confusion"])) == 7
    missing = fedward("evaluate", finished, "--data", csv, "--split", "PublicTest")
    assert missing.returncode == 1
    assert "has PrivateTest, not PublicTest: name a split that it has" in missing.stderr
    assert "--split" in missing.stderr
    missing = fedward("evaluate", finished, "--data", csv, "--split", "Training")
    assert missing.returncode == 1
    assert "has no Training; name a split that it has" in missing.stderr
    others = [row.replace("PrivateTest", "PublicTest").replace(",0 ", ",9 ") for row in rows]
    both = tmp_path / "both.csv"
    both.write_text("\n".join(["emotion,pixels,Usage", *rows, *others]) + "\n")
    done = fedward("evaluate", finished, "--data", both, "--split", "all", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["split"] == "PublicTest+PrivateTest"
    assert sum(map(sum, json.loads(done.stdout)["confusion"])) == 14


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "fer"), "unknown recipe 'fer'"),
        (("simulate", "fer-compact"), "--data PATH"),
        (("simulate", "--model", "vgg99"), "training.model"),
        (("simulate", "--data", "/nowhere/fer2013.csv"), "/nowhere/fer2013.csv"),
        (("simulate", "--hospitals", "5000"), "hospitals"),
        (("simulate", "--resume", "/nowhere"), "config.json is missing"),
        (("simulate", "demo", "--resume", "/nowhere"), "give it alone"),
        (("simulate", "demo", "--config", "x.yaml"), "give it or the recipe demo"),
        (("evaluate", "/nowhere", "--data", "x.csv"), "has no model"),
        (("data", "check", "/nowhere"), "/nowhere"),
        (("simulate", "--model", "vgg16"), "set FEDWARD_VGG16"),
        (("simulate", "fer-pooled-vgg16", "--data", "x.csv"), "set FEDWARD_VGG16"),
    ],
)
def test_mistakes_are_one_line_and_a_non_zero_exit(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    new_run = arguments[0] == "simulate" and "--resume" not in arguments
    extra = ("--out", str(tmp_path / "r")) if new_run else ()
    done = CliRunner().invoke(main, [*arguments, *extra])
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_an_existing_run_is_not_overwritten(fedward: Fedward, finished: Path, tiny: Path) -> None:
    before = (finished / "result.json").read_bytes()
    done = fedward("simulate", "--config", tiny, "--out", finished)
    assert done.returncode == 1
    assert "holds a run already" in done.stderr
    assert (finished / "result.json").read_bytes() == before
