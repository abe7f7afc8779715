"""`fedward report` as a data-protection officer types it."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedward.client.keys import create_key
from fedward.client.policy import Policy
from fedward.sims.cli import main

sys.path.insert(0, str(Path(__file__).parent))

from budget_story import FULL, audit_row, fill, write_egress

LIST = "patient,consent,purpose,from,until\n700001,no,*,2026-05-06,\n"


def fedward(*words: str) -> Result:
    return CliRunner().invoke(main, ["report", *words])


@pytest.fixture
def office(tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ledger and its key, as `fedward budget init` leaves them."""
    monkeypatch.chdir(tmp_path)
    fill(Path("ledger.db"), create_key(Path("hospital.key")), policy, rounds=3, events=FULL)
    write_egress(Path("left.jsonl"), rounds=3)
    Path("consent.csv").write_text(LIST, encoding="utf-8")
    Path("audit.json").write_text(json.dumps({"rows": [audit_row()]}), encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(tmp_path: Path, policy: Policy) -> Path:
    """A simulated run that kept the ledgers of two hospitals."""
    ledgers = tmp_path / "run" / "ledgers"
    for name in ("hospital-01", "hospital-02"):
        key = create_key(ledgers / f"{name}.key")
        fill(ledgers / f"{name}.db", key, policy, rounds=2, events=FULL)
    write_egress(ledgers / "hospital-01.egress.jsonl", rounds=2)
    return tmp_path / "run"


def test_a_report_is_written_and_its_signature_is_good(office: Path) -> None:
    done = fedward("budget", "--out", "out", "--name", "St Anna")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Of a budget of ε 4 per patient, ")
    assert done.output.endswith("report: out/budget-report.html; signed: out/budget-report.json\n")
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "budget-report.html",
        "budget-report.json",
    ]
    good = fedward("verify", "out/budget-report.json", "--key", "hospital.pem")
    assert good.exit_code == 0
    assert good.output.startswith("signed by the owner of this key, as St Anna, on 20")
    told = fedward("verify", "out/budget-report.json", "--key", "hospital.pem", "--json")
    assert json.loads(told.output)["signature"] == "good"


def test_json_is_the_signed_file(office: Path) -> None:
    words = ("--consent", "consent.csv", "--audit", "audit.json", "--egress", "left.jsonl")
    done = fedward("budget", "ledger.db", "--key", "hospital.key", *words, "--json")
    assert done.exit_code == 0, done.output
    assert done.stdout == Path("budget-report.json").read_text(encoding="utf-8")
    made = json.loads(done.stdout)
    assert made["hospital"] == "hospital"
    assert made["consent"]["everywhere"] == 1
    assert made["audit"]["lines"][0]["epsilon_lower_bound"] == 0.25
    assert "700001" not in done.stdout
    assert str(office) not in done.stdout


def test_a_changed_report_and_another_key_are_found(office: Path) -> None:
    assert fedward("budget").exit_code == 0
    path = Path("budget-report.json")
    create_key(Path("other.key"))
    other = fedward("verify", str(path), "--key", "other.pem")
    assert other.exit_code == 1
    assert "was changed, or is not signed with this key" in other.stderr
    path.write_text(path.read_text(encoding="utf-8").replace('"faces"', '"farce"'))
    changed = fedward("verify", str(path), "--key", "hospital.pem")
    assert changed.exit_code == 1
    assert "believe nothing in it" in changed.stderr
    assert "Traceback" not in changed.output


def test_an_alarm_is_an_error_after_the_report_is_written(office: Path) -> None:
    write_egress(Path("left.jsonl"), rounds=3, stray=True)
    done = fedward("budget", "--egress", "left.jsonl")
    assert done.exit_code == 1
    assert "the report is written, with an alarm: 1 update with 123 bytes left" in done.stderr
    assert Path("budget-report.html").exists()


def test_mistakes_are_told_in_one_line(office: Path) -> None:
    for words, message in (
        (("none.db",), "there is no ledger none.db"),
        (("--key", "none.key"), "cannot read the private key"),
        (("--consent", "none.csv"), "cannot read the consents"),
        (("--name", "a/b"), "one line of up to 100 letters"),
        ((".",), "has no ledgers/NAME.db"),
        ((".", "--egress", "left.jsonl"), "leave out --key, --name and --egress"),
    ):
        done = fedward("budget", *words, "--out", "out")
        assert done.exit_code == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not Path("out").exists()


def test_a_run_gets_a_report_of_every_hospital_and_of_all(run: Path) -> None:
    done = fedward("budget", str(run))
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("hospital-01: epsilon 0.")
    assert lines[1].endswith("of 4 charged; signature good")
    made = sorted(str(p.relative_to(run / "budget")) for p in (run / "budget").rglob("*.*"))
    assert made == [
        "consortium.html",
        "consortium.json",
        "hospital-01/budget-report.html",
        "hospital-01/budget-report.json",
        "hospital-02/budget-report.html",
        "hospital-02/budget-report.json",
    ]
    first = json.loads((run / "budget/hospital-01/budget-report.json").read_text())
    assert first["egress"]["unaccounted"] == []
    assert first["consent"] is None
    (run / "consents").mkdir()
    (run / "consents" / "hospital-01.csv").write_text(LIST, encoding="utf-8")
    told = fedward("budget", str(run), "--json")
    reports = [one["report"] for one in json.loads(told.stdout)["hospitals"]]
    assert [one["consent"] and one["consent"]["everywhere"] for one in reports] == [1, None]
    assert [one["signature"] for one in json.loads(told.stdout)["hospitals"]] == ["good", "good"]
    (run / "ledgers" / "hospital-02.pem").unlink()
    done = fedward("budget", str(run))
    assert done.exit_code == 1
    assert "has no hospital-02.key and hospital-02.pem beside it" in done.stderr


def test_reports_are_gathered(run: Path, office: Path) -> None:
    assert fedward("budget", "--out", "mine").exit_code == 0
    assert fedward("budget", str(run)).exit_code == 0
    theirs = run / "budget" / "hospital-01" / "budget-report.json"
    words = ("gather", "mine/budget-report.json", str(theirs), "--out", "all")
    keys = ("--key", "hospital.pem", "--key", str(run / "ledgers" / "hospital-01.pem"))
    done = fedward(*words, *keys)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "report: all/consortium.html"
    assert done.output.count("signature good") == 2

    unknown = fedward(*words, *keys[:2], "--json")
    assert unknown.exit_code == 1
    assert "hospital-01: not checked, as its public key was not given" in unknown.stderr
    found = {one["report"]["hospital"]: one["signature"]
             for one in json.loads(unknown.stdout)["hospitals"]}  # fmt: skip
    assert found == {"hospital": "good", "hospital-01": "no key"}
    shutil.copy("mine/budget-report.json", "twice.json")
    twice = fedward("gather", "twice.json", "mine/budget-report.json")
    assert twice.exit_code == 1
    assert "one report of each hospital" in twice.stderr
