"""The pages: complete, self-contained, escaped, fit for a phone, and drawn as the numbers are."""

import html
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fedward.client import budget_report_page
from fedward.client.budget_chart import HEIGHT, WIDTH, Steps, drawn, ticks
from fedward.client.budget_report import BudgetReport, is_signed_by, signed
from fedward.client.budget_report_page import (
    consortium_page,
    hospital_page,
    write_consortium,
    write_hospital,
)
from fedward.client.budget_reporting import Sources, make_report
from fedward.client.budget_words import charged
from fedward.client.consortium import gather
from fedward.client.ledger import Ledger
from fedward.client.policy import Policy
from fedward.common.wording import rounded_up

sys.path.insert(0, str(Path(__file__).parent))

from budget_story import BEGIN, FULL, REPORTED, audit_row, digest, fill, write_egress

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<script>alert('1')</script>&\"{{ 7*7 }}"


class Page(HTMLParser):
    """Collects what a page refers to, and which elements it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")


def text_of(page: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


@pytest.fixture
def report(path: Path, key: Ed25519PrivateKey, policy: Policy, tmp_path: Path) -> BudgetReport:
    """Everything in it, and an update that the ledger does not know."""
    fill(path, key, policy, rounds=5, events=FULL)
    consents, egress, audit = (tmp_path / name for name in ("c.csv", "e.jsonl", "a.json"))
    consents.write_text(
        "patient,consent,purpose,from,until\n700001,no,*,2026-05-06,\n", encoding="utf-8"
    )
    write_egress(egress, rounds=5, stray=True)
    audit.write_text(json.dumps({"rows": [audit_row(recipe=HOSTILE)]}), encoding="utf-8")
    return make_report(Sources("st-anna", path, consents, egress, audit), key, now=REPORTED)


@pytest.fixture
def empty(path: Path, key: Ed25519PrivateKey, policy: Policy) -> BudgetReport:
    own = path.with_name("empty.db")
    Ledger.create(own, key, policy, clock=lambda: BEGIN)
    return make_report(Sources("empty", own), key, now=BEGIN)


def hostile(report: BudgetReport, key: Ed25519PrivateKey) -> BudgetReport:
    """As a hostile hospital could sign it."""
    asked = report.releases[0].asked.model_copy(update={"study": HOSTILE, "run": HOSTILE})
    study = report.standing.studies[0].model_copy(update={"study": HOSTILE, "last_run": HOSTILE})
    changed = {
        "hospital": HOSTILE.replace("/", ""),
        "releases": (report.releases[0].model_copy(update={"asked": asked}),),
        "refusals": (report.refusals[0].model_copy(update={"asked": asked, "message": HOSTILE}),),
        "standing": report.standing.model_copy(update={"studies": (study,)}),
        "consent": None,
        "assumptions": (HOSTILE,),
    }
    return signed(report.model_copy(update=changed), key)


def pages(report: BudgetReport, key: Ed25519PrivateKey) -> tuple[str, str]:
    gathered = gather([report], [key.public_key()], now=REPORTED)
    return hospital_page(report), consortium_page(gathered)


def test_pages_refer_to_nothing_outside_themselves(
    report: BudgetReport, empty: BudgetReport, key: Ed25519PrivateKey
) -> None:
    for one in (report, empty):
        for page in pages(one, key):
            seen = Page(page)
            assert page.startswith("<!doctype html>")
            assert all(target.startswith("#") for target in seen.targets)
            assert {target[1:] for target in seen.targets} <= set(seen.ids)
            assert len(seen.ids) == len(set(seen.ids))
            assert not {"script", "link", "iframe", "object", "form", "img"} & set(seen.tags)
            for outside in ("http://", "https://", "url("):
                assert outside not in page
            assert "default-src 'none'" in page


def test_it_tells_what_an_officer_asks(report: BudgetReport) -> None:
    text = text_of(hospital_page(report))
    last = report.releases[-1]
    for said in (
        "Privacy budget: st-anna",
        f"Of a budget of ε 4 per patient, {rounded_up(charged(report))} is charged: 6 releases "
        "left this hospital, for 2 studies.",
        "1 reservation did not come back and counts as spent",
        "Alarm. 1 update with 123 bytes left that the ledger does not know",
        "ε 4 of everything that ever leaves, at δ = 10⁻⁴",
        "any study: at most 2",
        "1,000 are declared; rounds on fewer than 100 are refused",
        "Gaussian, full batch, per patient σ 20, rate 1, 4 steps",
        "exact Gaussian differential privacy",
        "voices, round 7 scatter, run r1",
        f"{last.sha256[:16]}…",
        "total : round 0 of voices does not fit",
        "up to 1",
        "Reserved and never settled",
        digest(4711),
        "61 of 100, 1,000 crafted; 95% confidence not refuted",
        "Neighbouring data sets differ by adding or removing one patient",
        "Every entry of the ledger is whole, in order, signed, and within the budget, "
        f"{report.ledger.entries} in all",
        report.public_key,
        report.signature,
    ):
        assert said in text, said


def test_a_page_without_anything_says_so(empty: BudgetReport, key: Ed25519PrivateKey) -> None:
    alone, together = map(text_of, pages(empty, key))
    for said in (
        "nothing has left this hospital",
        "No study has asked for anything yet",
        "Nothing was released",
        "No round was refused",
        "no list of consents was given",
        "No audit was given",
    ):
        assert said in alone
    assert "Nothing was released" in together
    for text in (alone, together):
        assert not re.search(r"\bNone\b|\bnan\b|\binf\b|Undefined|Alarm\.", text)


def test_no_id_is_shown(report: BudgetReport, key: Ed25519PrivateKey) -> None:
    assert not any("700001" in page for page in pages(report, key))


def test_hostile_names_are_escaped(report: BudgetReport, key: Ed25519PrivateKey) -> None:
    mean = hostile(report, key)
    assert is_signed_by(mean, key.public_key())
    for page in pages(mean, key):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "{{ 7*7 }}" in html.unescape(page)
        assert 'alert("' not in page


def test_a_wrong_signature_and_a_missing_key_are_said_first(
    report: BudgetReport, key: Ed25519PrivateKey
) -> None:
    forged = report.model_copy(update={"epsilon_left": 4.0})
    page = text_of(consortium_page(gather([forged], [key.public_key()], now=REPORTED)))
    alarm = page.index("Alarm. st-anna: the signature is wrong. Believe nothing that it says.")
    assert alarm < page.index("Budgets over time")
    page = text_of(consortium_page(gather([report], [], now=REPORTED)))
    assert "Alarm. st-anna: not checked, as its public key was not given." in page
    assert "0 good signatures" in page


def test_long_tables_are_cut_and_say_so(
    report: BudgetReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_report_page, "MOST_ROWS", 2)
    page = text_of(hospital_page(report))
    assert "The last 2 of 6; the JSON has all." in page
    assert "faces, round 3" not in page
    assert "faces, round 4" in page


def test_many_hospitals_are_drawn_alike(report: BudgetReport) -> None:
    for count in (8, 9):
        keys = [Ed25519PrivateKey.generate() for _ in range(count)]
        reports = [
            signed(
                report.model_copy(update={"public_key": one.public_key().public_bytes_raw().hex()}),
                one,
            )
            for one in keys
        ]
        page = consortium_page(gather(reports, [one.public_key() for one in keys], now=REPORTED))
        assert f"{count} good signatures" in text_of(page)
        drawing = page[page.index("<svg") : page.index("</svg>")]
        assert ("line-7" in drawing) == (count == 8)


def test_files_are_written(report: BudgetReport, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    write_hospital(report, tmp_path / "new" / "folder")
    write_consortium(gather([report], [key.public_key()], now=REPORTED), tmp_path / "new")
    found = sorted(path.name for path in (tmp_path / "new").rglob("*.*"))
    assert found == [
        "budget-report.html",
        "budget-report.json",
        "consortium.html",
        "consortium.json",
    ]


def test_a_chart_is_where_its_numbers_are() -> None:
    line = Steps("charged", [("2026-05-01T00:00:00Z", 0.0), ("2026-05-06T00:00:00Z", 5.0)])
    picture = drawn(
        [line],
        until="2026-05-11T00:00:00Z",
        told='"<told>"',
        marks=["2026-05-11T00:00:00Z"] * 9,
        percent=False,
    )
    root = ET.fromstring(str(picture))
    assert root.get("aria-label") == '"<told>"'
    (path,) = (one for one in root if one.get("class") == "charged")
    # From (44, 266) over half of the time to 395, up to 5 of 5, and on to the end.
    assert path.get("d") == "M44.0 266.0H395.0V18.0H746"
    assert len([one for one in root if one.get("class") == "refused"]) == 1
    words = [one.text for one in root if one.tag == "text"]
    assert words == ["0", "1", "2", "3", "4", "5", "1 May 2026", "4 May 2026", "7 May 2026",
                     "11 May 2026"]  # fmt: skip


def test_a_chart_of_one_moment_is_drawn() -> None:
    line = Steps("charged", [("2026-05-01T00:00:00Z", 0.0)], filled=True)
    picture = drawn([line], until="2026-05-01T00:00:00Z", told="", percent=True)
    numbers = re.findall(r"-?\d+\.?\d*", " ".join(re.findall(r' d="(.*?)"', picture)))
    assert all(0 <= float(number) <= max(WIDTH, HEIGHT) for number in numbers)
    assert "100%" in picture


@given(st.floats(1e-3, 1e4))
def test_ticks_are_few_and_reach_the_top(top: float) -> None:
    found = ticks(top)
    assert found[0] == 0
    assert found[-1] >= top * (1 - 1e-6)
    assert 2 <= len(found) <= 8
    assert found[-2] < top


PROBE = """<!doctype html><title>waiting</title>
<iframe width="390" height="800" style="border:0" srcdoc="{page}"></iframe>
<script>
document.querySelector("iframe").onload = (event) => {{
  const page = event.target.contentDocument;
  const style = (name) => getComputedStyle(page.querySelector(name));
  document.title = JSON.stringify({{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    paper: getComputedStyle(page.body).backgroundColor,
    line: style(".chart .charged:not(.shade)").stroke,
    drawing: page.querySelector(".chart svg").getBoundingClientRect().width,
    sections: page.querySelectorAll("section").length,
  }});
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it_on_a_phone(report: BudgetReport, tmp_path: Path, dark: bool) -> None:
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=html.escape(hospital_page(report))), encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path / 'profile'}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        "--virtual-time-budget=10000",
        "--dump-dom",
        probe.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None
    seen = json.loads(html.unescape(found.group(1)))
    assert seen["overflow"] == 0
    assert seen["paper"] == ("rgb(20, 24, 27)" if dark else "rgb(251, 250, 247)")
    assert seen["line"] == ("rgb(128, 196, 236)" if dark else "rgb(10, 95, 148)")
    assert seen["drawing"] == 640
    assert seen["sections"] == 10
