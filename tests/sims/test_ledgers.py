"""The budgets of simulated hospitals, in whole runs through Flower's simulation runtime."""

import time
from pathlib import Path

import pytest

from fedward.client.egress import read_departures
from fedward.client.keys import load_public_key
from fedward.client.ledger_check import verify
from fedward.client.ledger_page import read_standing
from fedward.common.config import (
    DataConfig,
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
)
from fedward.common.errors import ConfigError, DataError, RunError
from fedward.common.noise import plan_noise
from fedward.common.result import Result
from fedward.sims.ledgers import bring_along, check_folders, create_ledgers, simulated_policy
from fedward.sims.progress import progress
from fedward.sims.simulate import simulate

NAMES = ("hospital-01", "hospital-02", "hospital-03")


def study(**hospitals: object) -> Study:
    return Study(
        name="budgets",
        data=DataConfig(synthetic_patients=60, synthetic_images_per_patient=2),
        hospitals=HospitalsConfig.model_validate({"count": 3, "alpha": None, **hospitals}),
        training=TrainingConfig(model="scatter", batch_size=0, learning_rate=20.0),
        privacy=PrivacyConfig(epsilon=2.0, delta=1e-3),
        rounds=RoundsConfig(count=5),
    )


def run(plan: Study, folder: Path) -> Result:
    folder.mkdir(exist_ok=True)
    with progress(quiet=True) as tell:
        return simulate(
            plan, folder, workers=2, engine="fedward", began=time.monotonic(), tell=tell
        )


def ledger(folder: Path, name: str) -> Path:
    return folder / "ledgers" / f"{name}.db"


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"privacy": {"epsilon": 2.0, "delta": 1e-3, "unit": "patient"}},
        {"training": {"model": "lstm", "batch_size": 16}, "rounds": {"count": 2}},
        {"privacy": {"epsilon": 1.9, "delta": 1e-3, "metrics_noise_multiplier": 4.0}},
    ],
)
def test_every_hospital_keeps_a_ledger_that_says_what_the_result_says(
    tmp_path: Path, change: dict[str, object]
) -> None:
    plan = Study.model_validate(study().model_dump() | change)
    result = run(plan, tmp_path / "run")
    for hospital in result.hospitals:
        path = ledger(tmp_path / "run", hospital.name)
        now = verify(path, load_public_key(path.with_suffix(".pem")))
        assert now.epsilon_spent == pytest.approx(hospital.epsilon, rel=1e-9)
        assert now.epsilon_reserved == 0
        asks = plan.privacy is not None and plan.privacy.metrics_noise_multiplier is not None
        releases = plan.rounds.count + asks
        assert now.entries == 1 + 3 * releases
        assert now.epsilon_total == pytest.approx(hospital.epsilon, abs=2e-2)
        lines = list(read_departures(path.with_suffix(".egress.jsonl")))
        assert [line.kind for line in lines] == ["hello"] + ["update"] * releases
        assert (hospital.measured_accuracy is not None) == asks
        assert path.with_suffix(".key").stat().st_mode & 0o077 == 0


def test_a_run_without_privacy_keeps_none(tmp_path: Path) -> None:
    run(study().model_copy(update={"privacy": None}), tmp_path / "run")
    assert not (tmp_path / "run" / "ledgers").exists()


def test_one_hospital_runs_out_and_the_others_go_on_and_the_next_study_is_refused(
    tmp_path: Path,
) -> None:
    plan = study()
    whole = simulated_policy(plan, "hospital-03", 20).epsilon_total
    assert whole == pytest.approx(2.0, rel=1e-3)
    noise = plan_noise(plan, 20)
    assert noise is not None
    three, four = (noise.epsilon(list(range(1, n)), delta=1e-3) for n in (4, 5))
    budget = (three + four) / 2
    short = study(budgets={"hospital-03": budget})
    assert simulated_policy(short, "hospital-03", 20).epsilon_total == budget
    result = run(short, tmp_path / "first")
    refused = [[r.hospital for r in part.refused] for part in result.rounds]
    assert refused == [[], [], [], ["hospital-03"], ["hospital-03"]]
    reason = result.rounds[3].refused[0]
    assert reason.by_hospital
    assert reason.reason == ("refused by the hospital: its privacy budget does not cover the round")
    assert result.rounds[3].participants == ["hospital-01", "hospital-02"]
    epsilons = {hospital.name: hospital.epsilon for hospital in result.hospitals}
    spent = read_standing(ledger(tmp_path / "first", "hospital-03")).epsilon_spent
    assert spent == pytest.approx(epsilons["hospital-03"], rel=1e-9)
    assert spent <= budget < epsilons["hospital-01"]  # type: ignore[operator]
    report = (tmp_path / "first" / "report.html").read_text()
    assert "its privacy budget does not cover the round" in report

    again = plan.model_copy(update={"name": "tuesday"})
    (tmp_path / "second").mkdir()
    bring_along(tmp_path / "second", ledgers=tmp_path / "first" / "ledgers", consents=None)
    with pytest.raises(
        RunError,
        match=r"round 1: 1 of 3 hospitals .*hospital-01: refused .*: its privacy budget",
    ):
        run(again, tmp_path / "second")
    studies = read_standing(ledger(tmp_path / "first", "hospital-01")).studies
    assert [(one.study, one.rounds, one.refusals) for one in studies] == [
        ("budgets", 5, 0),
        ("tuesday", 0, 1),
    ]


def test_a_patient_who_withdraws_counts_no_more(tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    for name in NAMES:
        (lists / f"{name}.csv").write_text("patient,consent,purpose,from,until\n")
    plan = check_folders(study(), ledgers=None, consents=lists)
    assert plan.hospitals.consent == "opt-out"
    (tmp_path / "run").mkdir()
    bring_along(tmp_path / "run", ledgers=None, consents=lists)
    everybody = run(plan, tmp_path / "run")
    (lists / "hospital-01.csv").write_text(
        "patient,consent,purpose,from,until\n"
        + "".join(f"{patient},no,*,2026-01-01,\n" for patient in range(60))
    )
    (tmp_path / "other").mkdir()
    bring_along(tmp_path / "other", ledgers=None, consents=lists)
    fewer = run(plan, tmp_path / "other")
    assert all(not part.refused for part in everybody.rounds)
    assert [r.reason for part in fewer.rounds for r in part.refused] == [
        "the hospital failed: its own log says why"
    ] * 5
    log = (tmp_path / "other" / "hospitals.log").read_text()
    assert "leaves no patient for study budgets" in log


def test_missing_lists_and_folders_are_named(tmp_path: Path) -> None:
    asking = study(consent="opt-in")
    with pytest.raises(DataError, match=r"hospital-01\.csv"):
        create_ledgers(asking, {"hospital-01": 20}, tmp_path)
    with pytest.raises(ConfigError, match="--consents"):
        check_folders(asking, ledgers=None, consents=None)
    with pytest.raises(ConfigError, match="nowhere is no folder"):
        check_folders(study(), ledgers=tmp_path / "nowhere", consents=None)
    public = study().model_copy(update={"privacy": None})
    with pytest.raises(ConfigError, match="--epsilon"):
        check_folders(public, ledgers=tmp_path, consents=None)
    with pytest.raises(ConfigError, match="hospital-09, which does not exist"):
        create_ledgers(study(budgets={"hospital-09": 1.0}), {"hospital-01": 20}, tmp_path)
