"""The report: complete, self-contained, honest about what is missing, and fit for a phone."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fedward.common.config import (
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
    parse_study,
)
from fedward.common.errors import ConfigError, RunError
from fedward.common.faces import EMOTIONS
from fedward.common.result import Result
from fedward.server import report_words as words
from fedward.server.report import render_report, time_table, write_report

Make = Callable[[str], Result]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STATES = ["private", "open", "failed", "running", "large"]


class Links(HTMLParser):
    """Collects what a page refers to, and which elements it has."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.targets.append(value or "")
            if name == "id":
                self.ids.add(value or "")


def text_of(page: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


@pytest.mark.parametrize("state", STATES)
def test_a_page_refers_to_nothing_outside_itself(
    made_result: Make, figures: Path, tmp_path: Path, state: str
) -> None:
    write_report(made_result(state), figures, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert all(t.startswith(("#", "data:image/png;base64,")) for t in links.targets)
    assert {t[1:] for t in links.targets if t.startswith("#")} <= links.ids
    assert links.tags.count("img") == (5 if state in ("private", "open", "large") else 3)
    assert not {"script", "link", "iframe", "object", "form"} & set(links.tags)
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("state", STATES)
def test_a_page_never_shows_a_missing_value_as_code(made_result: Make, state: str) -> None:
    text = text_of(render_report(made_result(state), {}))
    assert not re.search(r"\bNone\b(?! stated)|\bnan\b|\binf\b|Undefined", text)


def test_a_private_run_tells_what_an_officer_asks(made_result: Make) -> None:
    result = made_result("private")
    text = text_of(render_report(result, {}))
    assert result.privacy is not None
    for said in (
        "51.0% of 3,589 test images",
        "ε is at most 8.00 at every hospital",
        "2.083",
        "10⁻⁵",
        result.privacy.mechanism,
        result.privacy.accountant,
        result.privacy.noise_source,
        *result.privacy.assumptions,
        "99.97% of the time",
        "1,216 duplicates and 57 images",
        "is 0.31 on average and 0.58 at most",
        "sizes is 0.29",
        "hospital-02: array 'weight' has values that are not finite",
        "1 update was refused",
        "Pooled 56.1%",
        "hospital-10 alone 37.5%",
        "The mean of its image features, clipped and noised",
        result.data.sha256,
        "Seed 0",
        "12 min 34 s",
        *(hospital.name for hospital in result.hospitals),
        *(hospital.camera for hospital in result.hospitals),
        *EMOTIONS,
    ):
        assert said in text
    assert "No differential privacy" not in text


def test_without_privacy_the_page_says_so_plainly(made_result: Make) -> None:
    text = text_of(render_report(made_result("open"), {}))
    assert "No differential privacy: nothing bounds" in text
    assert "Privacy, ε none not private" in text
    assert "exact, without noise" in text
    assert "no person is in them" in text
    assert "No baselines were trained" in text


def test_a_failed_run_says_why_before_all_else(made_result: Make) -> None:
    text = text_of(render_report(made_result("failed"), {}))
    reason = text.index("Reason: round 1: 3 of 10 hospitals answered, the quorum is 5")
    assert text.index("This run failed: 0 of 20 rounds finished.") < reason
    assert reason < text.index("No round was finished, so there is no model to judge")


def test_a_running_run_is_called_provisional(made_result: Make) -> None:
    text = text_of(render_report(made_result("running"), {}))
    assert "4 of 20 rounds finished. The numbers below are provisional." in text
    assert "After round 4 it was right in" in text
    assert "ε counts finished rounds." in text


def test_an_interrupted_run_can_be_resumed(made_result: Make) -> None:
    result = made_result("running").model_copy(update={"status": "interrupted"})
    assert "It can be resumed where it stopped." in text_of(render_report(result, {}))


def test_what_comes_from_outside_is_escaped(made_result: Make) -> None:
    result, attack = made_result("open"), '"><script>alert(1)</script>'
    hospital = result.hospitals[0].model_copy(update={"name": attack, "camera": attack})
    data = result.data.model_copy(update={"source": attack})
    changed = {"hospitals": [hospital], "data": data, "reason": attack, "status": "failed"}
    page = render_report(result.model_copy(update=changed), {})
    assert "<script" not in page
    assert text_of(page).count("alert(1)") >= 4


def test_a_recipe_that_is_no_study_is_refused(made_result: Make) -> None:
    result = made_result("open").model_copy(update={"recipe": {"name": "x", "roundz": 3}})
    with pytest.raises(ConfigError, match="did you mean 'rounds'"):
        render_report(result, {})


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    made_result: Make, tmp_path: Path
) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RunError, match=r"report\.html"):
        write_report(made_result("open"), tmp_path / "none", tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_time_table_adds_up(made_result: Make) -> None:
    result = made_result("private")
    rows = time_table(result)
    assert sum(seconds for _, seconds, _ in rows) == pytest.approx(result.seconds.total)
    assert sum(share for _, _, share in rows) == pytest.approx(1)


def test_a_recipe_is_told_in_words() -> None:
    study = Study(
        name="x",
        hospitals=HospitalsConfig(alpha=None, size_sigma=0, images_each=100),
        training=TrainingConfig(
            epochs=2, optimizer="sgd", schedule="cosine", augment=True, low_resolution=0.4
        ),
        rounds=RoundsConfig(participation=0.5, average_from=0.85, server_momentum=0.9),
    )
    told = dict(words.recipe(study))
    assert told["At a hospital"].startswith("2 passes a round, batches of 64; SGD with momentum")
    assert "the first 40% of the rounds at 36×36 pixels" in told["At a hospital"]
    assert "a random 50% of the hospitals" in told["Rounds"]
    assert "mean of the models after 85% of the rounds" in told["At the aggregator"]
    assert told["Who gets what"].startswith("Emotions evenly; equal sizes; at most 100 images each")


def test_gaps_in_the_privacy_are_pointed_out(made_result: Make) -> None:
    result = made_result("private")
    bare = result.hospitals[0].model_copy(update={"epsilon": None})
    loose = result.hospitals[1].model_copy(update={"delta": 0.01, "epsilon": 12.0})
    said = words.warnings(result.model_copy(update={"hospitals": [bare, loose]}))
    assert [line.split(":")[0] for line in said] == [
        "No ε is recorded for hospital-01",
        "δ is not below one in the number of images at hospital-02",
        "An ε of 12.00 is a weak guarantee in theory.",
    ]
    assert words.warnings(result) == []


def test_where_a_patient_is_the_unit_every_text_says_so(made_result: Make) -> None:
    result = made_result("private")
    assert result.privacy is not None
    study = Study.model_validate(result.recipe)
    assert study.privacy is not None
    per_patient = study.model_copy(
        update={"privacy": study.privacy.model_copy(update={"unit": "patient"})}
    )
    few = [h.model_copy(update={"patients": 70 + k}) for k, h in enumerate(result.hospitals)]
    result = result.model_copy(
        update={
            "recipe": per_patient.model_dump(mode="json"),
            "privacy": result.privacy.model_copy(update={"unit": "patient", "assumptions": []}),
            "hospitals": few,
        }
    )
    assert "about any one patient" in words.privacy_in_short(result)
    assert "its rounded number of patients" in words.departures(result, per_patient)[0][1]
    assert (
        "each with up to 4 images drawn afresh" in dict(words.recipe(per_patient))["At a hospital"]
    )
    said = " ".join(words.limits(result, per_patient))
    assert "one patient with all images" in said
    assert "not one person" not in said
    assert words.warnings(result) == []
    loose = result.model_copy(update={"hospitals": [few[0].model_copy(update={"delta": 0.02})]})
    assert words.warnings(loose) == [
        "δ is not below one in the number of patients at hospital-01: too weak."
    ]
    text = text_of(render_report(result, {}))
    for told in ("One patient of one hospital", "(L2, per patient)", "removing one patient"):
        assert told in text
    assert "one image" not in text


def test_epsilon_is_told_as_a_range_where_hospitals_differ(made_result: Make) -> None:
    result = made_result("private")
    first = result.hospitals[0].model_copy(update={"epsilon": 2.1})
    mixed = result.model_copy(update={"hospitals": [first, *result.hospitals[1:]]})
    assert words.epsilon_range(mixed) == "2.10 to 8.00"
    assert words.epsilon_range(made_result("failed")) == "–"


def test_the_accuracy_interval_is_wilsons(made_result: Make) -> None:
    test = made_result("private").test
    assert test is not None
    half = [[50, 50, 0, 0, 0, 0, 0]] + [[0] * 7] * 6
    small = test.model_copy(update={"accuracy": 0.5, "confusion": half})
    assert words.accuracy_interval(small) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    none = test.model_copy(update={"confusion": [[0] * 7] * 7})
    assert words.accuracy_interval(none) == (0.0, 1.0)


PROBE = """<!doctype html><title>waiting</title>
<iframe width="390" height="800" style="border:0" srcdoc="{page}"></iframe>
<script>
document.querySelector("iframe").onload = (event) => {{
  const page = event.target.contentDocument;
  document.title = JSON.stringify({{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    images: [...page.images].map((image) => image.naturalWidth),
    paper: getComputedStyle(page.body).backgroundColor,
    sections: page.querySelectorAll("section").length,
  }});
}};
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize(("state", "dark"), [("private", False), ("large", True)])
def test_a_browser_shows_it_on_a_phone(
    made_result: Make, figures: Path, tmp_path: Path, state: str, dark: bool
) -> None:
    write_report(made_result(state), figures, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "probe.html").write_text(PROBE.format(page=html.escape(page)), encoding="utf-8")
    seen = json.loads(_title(tmp_path, dark=dark))
    assert seen["overflow"] == 0
    assert len(seen["images"]) == 5
    assert min(seen["images"]) > 1000
    assert seen["paper"] == ("rgb(20, 24, 27)" if dark else "rgb(251, 250, 247)")
    assert seen["sections"] == 11


def _title(folder: Path, *, dark: bool) -> str:
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={folder / 'profile'}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        "--virtual-time-budget=10000",
        "--dump-dom",
        (folder / "probe.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None
    return html.unescape(found.group(1))


def test_noisy_counts_are_told_where_they_left(made_result: Make) -> None:
    result = made_result("private")
    study = parse_study(result.recipe)
    privacy = PrivacyConfig(epsilon=3, metrics_noise_multiplier=5.0)
    asking = study.model_copy(update={"privacy": privacy})
    assert "names right" not in str(words.departures(result, study))
    assert words.departures(result, asking)[-1][1].endswith("both with noise.")
    assert "a loss or score" in words.never_left(study)
    assert "an exact loss or score" in words.never_left(asking)
    first, *rest = result.hospitals
    told = first.model_copy(update={"measured_accuracy": 0.4321})
    page = render_report(result.model_copy(update={"hospitals": [told, *rest]}), {})
    assert "Told with noise" in page
    assert "43.2%" in page
    assert "Told with noise" not in render_report(result, {})
