"""`fedward budget` as the data-protection officer types it."""

import json
import stat
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


def fedward(*words: str) -> Result:
    return CliRunner().invoke(main, ["budget", *words])


def write_policy(path: Path, **changed: object) -> None:
    policy: dict[str, object] = {
        "unit": "patient",
        "patients": 2900,
        "epsilon_total": 8,
        "valid_from": (TODAY - timedelta(days=2)).date().isoformat(),
        "valid_until": (TODAY + timedelta(days=2)).date().isoformat(),
    }
    path.write_text(json.dumps({**policy, **changed}), encoding="utf-8")  # JSON is YAML


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy, where `budget init` was run."""
    monkeypatch.chdir(tmp_path)
    write_policy(Path("privacy.yaml"))
    made = fedward("init", "privacy.yaml")
    assert made.exit_code == 0, made.output
    assert made.output.startswith("epsilon 8 at delta 3.44828e-05 per patient, ")
    return tmp_path


def spend() -> None:
    ledger = Ledger(Path("ledger.db"), load_key(Path("hospital.key")), clock=lambda: TODAY)
    events = (GaussianEvent(10.0, 1.0, 20),)
    ledger.settle(ledger.reserve(Request("fer", "r1", 0, "m", "patient", 2900, events)), events)


def test_init_makes_key_and_ledger_once(office: Path) -> None:
    names = ["hospital.key", "hospital.pem", "ledger.db", "privacy.yaml"]
    assert sorted(entry.name for entry in office.iterdir()) == names
    assert stat.S_IMODE(Path("hospital.key").stat().st_mode) == 0o600
    key = Path("hospital.key").read_bytes()
    again = fedward("init", "privacy.yaml")
    assert again.exit_code == 1
    assert again.stderr == (
        "fedward: ledger.db holds a ledger already: a new policy is for `fedward budget amend`\n"
    )
    other = fedward("init", "privacy.yaml", "--ledger", "second.db")
    assert other.exit_code == 0
    assert Path("hospital.key").read_bytes() == key


@pytest.mark.usefixtures("office")
def test_show_says_what_is_spent() -> None:
    spend()
    told = json.loads(fedward("show", "--json").stdout)
    assert list(told) == [
        "unit",
        "delta",
        "epsilon_total",
        "epsilon_spent",
        "epsilon_reserved",
        "entries",
        "studies",
    ]
    assert (told["unit"], told["epsilon_total"], told["entries"]) == ("patient", 8, 3)
    assert told["studies"][0]["epsilon_spent"] == told["epsilon_spent"] > 0
    words = fedward("show", "ledger.db").stdout
    assert "epsilon 8 at delta 3.44828e-05, unit: one patient" in words
    assert "fer: spent" in words
    assert fedward("show", "absent.db").exit_code == 1


@pytest.mark.usefixtures("office")
def test_verify_passes_or_names_the_entry() -> None:
    spend()
    assert fedward("anchor", "--out", "anchor.json").exit_code == 0
    assert json.loads(fedward("anchor", "ledger.db").stdout)["entries"] == 3
    good = fedward("verify", "ledger.db", "--key", "hospital.pem", "--anchor", "anchor.json")
    assert good.exit_code == 0, good.output
    assert "all 3 entries are whole" in good.stdout
    assert "without --anchor" in fedward("verify", "ledger.db", "--key", "hospital.pem").stdout

    Path("ledger.db").unlink()
    assert fedward("init", "privacy.yaml").exit_code == 0
    bad = fedward("verify", "ledger.db", "--key", "hospital.pem", "--anchor", "anchor.json")
    assert bad.exit_code == 1
    assert bad.stderr.startswith("fedward: entry 2: it is missing: 3 entries were anchored")


@pytest.mark.usefixtures("office")
def test_amend_raises_the_budget() -> None:
    write_policy(Path("privacy.yaml"), epsilon_total=9)
    assert json.loads(fedward("show", "--json").stdout)["epsilon_total"] == 8  # not signed yet
    assert "epsilon 9 in all" in fedward("amend", "privacy.yaml").stdout
    assert json.loads(fedward("show", "--json").stdout)["epsilon_total"] == 9
    write_policy(Path("privacy.yaml"), patients=3000)
    refused = fedward("amend", "privacy.yaml")
    assert refused.exit_code == 1
    assert "delta cannot change" in refused.stderr


@pytest.mark.usefixtures("office")
def test_an_open_key_is_refused_with_the_cure() -> None:
    Path("hospital.key").chmod(0o644)
    refused = fedward("amend", "privacy.yaml")
    assert refused.exit_code == 1
    assert "`chmod 600 hospital.key`" in refused.stderr
