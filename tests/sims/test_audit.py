"""The whole audit on tiny hospitals: sound mechanisms pass, each broken one is caught."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from fedward.common.config import Study, parse_study
from fedward.common.noise import plan_noise
from fedward.sims.audit import audit, records_of
from fedward.sims.audit_mechanism import BROKEN, Broken
from fedward.sims.audit_table import AuditReport
from fedward.sims.audit_words import in_words, markdown
from fedward.sims.cli import main


def document(unit: str = "patient", model: str = "scatter", **privacy: Any) -> dict[str, Any]:
    """A hospital of 42 drawn patients. Clipping is tight: gradients here are about twenty times as
    long as the norm, so that skipping it matters. With so few patients the mean of the features
    needs most of the budget: centred by noise, all gradients are alike."""
    return {
        "name": "tiny",
        "data": {"synthetic_patients": 60, "synthetic_images_per_patient": 2},
        "hospitals": {"count": 1, "alpha": None, "size_sigma": 0},
        "training": {"model": model, "batch_size": 0, "learning_rate": 20.0},
        "privacy": {
            "epsilon": 3.0,
            "delta": 1e-4,
            "clipping_norm": 0.05,
            "statistics_share": 0.8,
            "unit": unit,
            **privacy,
        },
        "rounds": {"count": 3},
    }


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_CACHE", str(tmp_path_factory.getbasetemp() / "audit-cache"))


def told(number: int, rounds: int) -> None:
    assert 1 <= number <= rounds


def audited(study: Study, broken: Broken | None = None, canaries: int = 120) -> Any:
    return audit(study, canaries=canaries, broken=broken, tell=told)


@pytest.mark.parametrize("unit", ["patient", "image"])
def test_the_bounds_of_a_sound_mechanism_stay_below_its_claim(unit: str) -> None:
    row = audited(parse_study(document(unit))).row
    assert row.passes
    assert max(row.epsilon_lower_bound, row.epsilon_lower_bound_curve) < row.epsilon_claimed
    assert row.epsilon_claimed == pytest.approx(3.0)
    assert row.unit == unit
    assert row.guesses == 48


@pytest.mark.parametrize("unit", ["patient", "image"])
@pytest.mark.parametrize("broken", BROKEN)
def test_every_broken_mechanism_is_caught(broken: Broken, unit: str) -> None:
    row = audited(parse_study(document(unit)), broken).row
    assert not row.passes
    assert row.epsilon_lower_bound_curve > row.epsilon_claimed
    assert row.epsilon_lower_bound > 1.5
    assert row.epsilon_claimed == pytest.approx(3.0)  # the claim does not know
    assert row.broken == broken


def test_without_noise_a_network_is_caught() -> None:
    """Half of the hospital are canaries; the claim is small, for what is seen is a round's update
    through AdamW, which says less than the sums that it was made of."""
    base = document("image", "lstm", epsilon=0.5, clipping_norm=1.0)
    base["training"].update(learning_rate=2e-3, batch_size=64)
    base["data"]["synthetic_patients"] = 40
    study = parse_study(base)
    assert not audited(study, "no-noise", canaries=120).row.passes
    assert audited(study, canaries=120).row.passes


def test_the_same_seed_finds_the_same() -> None:
    one, two = (audited(parse_study(document("image")), canaries=30) for _ in range(2))
    assert one.row == two.row
    assert np.array_equal(one.scores, two.scores)
    other = audited(parse_study({**document("image"), "seed": 1}), canaries=30)
    assert not np.array_equal(one.inside, other.inside)


def test_the_claim_is_for_the_audited_size() -> None:
    study = parse_study(document("image", "lstm") | {"training": {"model": "lstm"}})
    row = audited(study, canaries=40).row
    plan = plan_noise(study, row.size)
    assert plan is not None
    assert row.size == 84 + 40 // 2 - 4  # 42 patients with two images each, two digits
    assert row.epsilon_claimed == plan.epsilon([1, 2, 3], delta=1e-4)


def test_canaries_have_more_images_than_enter_a_step() -> None:
    assert records_of(parse_study(document("image")), None) == 1
    assert records_of(parse_study(document("image")), "records-for-patients") == 8
    assert records_of(parse_study(document("patient", records_per_patient=10)), None) == 20


def run(tmp_path: Path, *words: str, **changes: Any) -> Result:
    study = tmp_path / "study.json"
    study.write_text(json.dumps({**document("image"), **changes}))
    out = str(tmp_path / "out")
    line = ["audit", "--config", str(study), "--canaries", "80", "--out", out, *words]
    return CliRunner().invoke(main, line)


def test_the_command_prints_a_verdict_and_leaves_files(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    assert "The claim stands" in done.stdout
    report = AuditReport.model_validate_json((tmp_path / "out" / "audit.json").read_text())
    (row,) = report.rows
    assert in_words(row) in done.stdout
    assert f"{row.right} of {row.guesses}" in (tmp_path / "out" / "audit.md").read_text()
    assert (tmp_path / "out" / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_fails_when_a_claim_is_refuted(tmp_path: Path) -> None:
    done = run(tmp_path, "--broken", "no-noise", "--json")
    assert done.exit_code == 1
    report = AuditReport.model_validate_json(done.stdout)
    assert not report.passes
    assert "REFUTED" in in_words(report.rows[0])
    assert "| refuted |" in markdown(report)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--recipe", "demo"], "demo: no privacy is claimed"),
        (["--recipe", "nobody"], "unknown recipe 'nobody'"),
        (["--recipe", "fer-private-8"], "needs FER-2013"),
        ([], "whose claim?"),
        (["--recipe", "fer-private-8", "--config", "x.yaml"], "not both"),
    ],
)
def test_what_cannot_be_audited_is_said_in_one_line(
    tmp_path: Path, words: list[str], says: str
) -> None:
    done = CliRunner().invoke(main, ["audit", *words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_fewer_images_make_a_smaller_hospital(tmp_path: Path) -> None:
    done = run(tmp_path, "--images", "30", "--seed", "3", "--json")
    (row,) = AuditReport.model_validate_json(done.stdout).rows
    assert row.size == 30 + 80 // 2
    assert row.seed == 3
