"""`fedward plan` and `fedward budget show --recipe` as people type them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedward.client.keys import load_key
from fedward.client.ledger import Ledger
from fedward.client.ledger_entries import Request
from fedward.common.privacy import GaussianEvent
from fedward.sims.cli import main

TODAY = datetime.now(UTC)
PRIVATE = ("--recipe", "fer-private-8", "--patients", "2900")


def fedward(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def open_ledger(unit: str = "image", epsilon_total: float = 8.0, **shares: float) -> None:
    policy = {
        "unit": unit,
        "patients": 2900,
        "epsilon_total": epsilon_total,
        "epsilon_per_study": shares,
        "valid_from": (TODAY - timedelta(days=2)).date().isoformat(),
        "valid_until": (TODAY + timedelta(days=2)).date().isoformat(),
    }
    Path("privacy.yaml").write_text(json.dumps(policy), encoding="utf-8")
    made = fedward("budget", "init", "privacy.yaml")
    assert made.exit_code == 0, made.output


def spend(study: str, event: GaussianEvent) -> None:
    ledger = Ledger(Path("ledger.db"), load_key(Path("hospital.key")), clock=lambda: TODAY)
    ledger.settle(ledger.reserve(Request(study, "r", 0, "m", "image", 2900, (event,))), (event,))


def test_a_plan_fits_a_terminal_and_says_what_it_is() -> None:
    done = fedward("plan", *PRIVATE, "--epsilon", "8")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    for said in (
        "each image counts as one unit",
        "No epsilon of a patient is claimed",
        "8.00 at delta 1e-05",
        "Estimates, not promises",
        "PublicTest of FER-2013",
    ):
        assert said in " ".join(done.stdout.split())
    assert done.stderr == ""


def test_json_holds_every_round_of_full_batches() -> None:
    told = json.loads(fedward("plan", *PRIVATE, "--json").stdout)
    assert list(told) == ["plan", "estimates", "rounds_left"]
    assert [cost["round"] for cost in told["plan"]["costs"]] == list(range(1, 31))
    assert told["plan"]["size"] == 2900
    assert {row["model"] for row in told["estimates"]} == {"pretrained"}
    assert told["rounds_left"] is None


def test_a_patient_is_named_where_it_is_the_unit() -> None:
    study = {
        "name": "wards",
        "training": {"model": "scatter"},
        "privacy": {"epsilon": 3, "unit": "patient"},
    }
    Path("study.yaml").write_text(json.dumps(study), encoding="utf-8")
    done = fedward("plan", "--config", "study.yaml", "--patients", "2937")
    assert done.exit_code == 0, done.output
    assert "a hospital of 2,900 patients" in done.stdout
    assert "one patient with all images" in done.stdout
    assert "No simulation of this model is known" in done.stdout
    assert done.stderr == "a hospital states its size in two digits: 2,900 patients, not 2,937\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--patients", "9"), "name a recipe"),
        (("--recipe", "nope", "--patients", "9"), "there are: demo"),
        (("--recipe", "demo", "--config", "x.yaml", "--patients", "9"), "not both"),
        (("--recipe", "demo", "--patients", "9"), "with an --epsilon"),
        (("--recipe", "fer-private-8", "--patients", "0"), "1 or more"),
        ((*PRIVATE, "--ledger", "no.db"), "budget init"),
        ((*PRIVATE, "--epsilon", "8", "--noise-multiplier", "3", "--rounds", "9"), "leave one out"),
    ],
)
def test_a_mistake_is_one_line_with_its_cure(words: tuple[str, ...], said: str) -> None:
    done = fedward("plan", *words)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("fedward: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_a_study_with_two_targets_is_refused() -> None:
    study = {"name": "x", "privacy": {"epsilon": 3, "noise_multiplier": 2}}
    Path("study.yaml").write_text(json.dumps(study), encoding="utf-8")
    done = fedward("plan", "--config", "study.yaml", "--patients", "90")
    assert done.exit_code == 1
    assert "exactly one of epsilon and noise_multiplier" in done.stderr


def test_a_ledger_says_how_many_rounds_fit() -> None:
    open_ledger(default=4.0)
    told = json.loads(fedward("plan", *PRIVATE, "--ledger", "ledger.db", "--json").stdout)
    shown = fedward("budget", "show", *PRIVATE, "--json")
    assert json.loads(shown.stdout)["rounds_left"] == told["rounds_left"]
    room = told["rounds_left"]
    assert room["in_total"] > room["in_share"] > 0
    words = fedward("budget", "show", "ledger.db", *PRIVATE).stdout
    assert words.startswith("epsilon 8 at delta")
    assert f"room for {room['in_total']} rounds" in words
    assert f"only the first {room['in_share']} fit" in " ".join(words.split())
    text = fedward("plan", *PRIVATE, "--ledger", "ledger.db").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert f"room for {room['in_total']} rounds" in text


def test_what_is_spent_leaves_fewer_rounds() -> None:
    open_ledger()
    before = json.loads(fedward("budget", "show", *PRIVATE, "--json").stdout)["rounds_left"]
    spend("another", GaussianEvent(2.0))
    after = json.loads(fedward("budget", "show", *PRIVATE, "--json").stdout)["rounds_left"]
    assert after["in_total"] < before["in_total"]
    assert after["in_share"] == before["in_share"]


def test_what_a_policy_forbids_is_said() -> None:
    open_ledger(unit="patient")
    done = fedward("budget", "show", *PRIVATE)
    assert done.exit_code == 0
    assert "this ledger counts by patient" in done.stdout


def test_show_without_a_recipe_is_as_it_was() -> None:
    open_ledger()
    assert "rounds_left" not in json.loads(fedward("budget", "show", "--json").stdout)
    assert fedward("budget", "show").stdout.count("\n") == 2
    done = fedward("budget", "show", "--patients", "9")
    assert done.exit_code == 1
    assert "give --recipe and --patients" in done.stderr
