"""A search: run once, ranked, written down with the command that repeats it."""

import json
import signal
import statistics
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from click import Choice
from click.testing import CliRunner
from PIL import Image

from fedward.common.config import DataConfig, Study, parse_study
from fedward.common.errors import RunError, StoppedError
from fedward.common.privacy import gaussian_epsilon, mu_for
from fedward.common.result import Result
from fedward.sims import accuracy_runs
from fedward.sims.cli import main
from fedward.sims.search import NAMES, SearchPlan, plan_search, search
from fedward.sims.search_plan import read_variations
from fedward.sims.search_table import (
    CandidateRow,
    Search,
    SearchRun,
    ranked,
    standard_error,
    tied_with_first,
)
from fedward.sims.search_words import markdown, privacy_statement

sys.path.insert(0, str(Path(__file__).parent))
from conftest import TINY, Fedward
from fake_runs import FakeSimulate, write_result

BASE = parse_study(TINY)
ACCURACIES = {(3, 0): 0.5, (3, 1): 0.6, (5, 0): 0.75, (5, 1): 0.75, (8, 0): 0.7, (8, 1): 0.7}


def write_run(made: Study, folder: Path, *, status: str = "completed", sha256: str = "") -> None:
    """What a run leaves, with the accuracy of its rounds and its seed."""
    accuracy = ACCURACIES[made.rounds.count, made.seed]
    sha256 = sha256 or f"drawn-{made.seed}"
    write_result(made, folder, accuracy=accuracy, split="Validation", status=status, sha256=sha256)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> FakeSimulate:
    fake = FakeSimulate(write_run)
    monkeypatch.setattr(accuracy_runs, "simulate_in_process", fake)
    return fake


def planned(*counts: int, seeds: tuple[int, ...] = (0, 1), base: Study = BASE) -> SearchPlan:
    varied = read_variations([f"rounds.count={','.join(map(str, counts))}"])
    return plan_search(base, data=None, varied=varied, seeds=seeds, command="fedward search x")


def silent(what: str, number: int, cases: int) -> None:
    pass


def row(accuracy: float, *, std: float | None = None, seeds: int = 1) -> CandidateRow:
    runs = [SearchRun(seed=k, accuracy=accuracy, macro_f1=0, folder="x") for k in range(seeds)]
    return CandidateRow(
        settings={"rounds.count": round(1000 * accuracy)},
        accuracy_mean=accuracy,
        accuracy_std=std,
        macro_f1_mean=0.0,
        epsilon=None,
        runs=runs,
    )


def test_candidates_are_ranked_and_written_down(simulate: FakeSimulate, tmp_path: Path) -> None:
    told: list[str] = []
    found = search(
        planned(3, 5, 8), tmp_path, tell=lambda what, k, of: told.append(f"{k + 1}/{of} {what}")
    )
    assert simulate.asked == [["--config", "--out"]] * 6
    assert told[0] == "1/6 rounds.count=3, seed 0"
    assert [one.settings["rounds.count"] for one in found.candidates] == [5, 8, 3]
    last = found.candidates[-1]
    assert last.accuracy_mean == pytest.approx(0.55)
    assert last.accuracy_std == pytest.approx(statistics.stdev([0.5, 0.6]))
    assert [run.folder for run in last.runs] == ["rounds.count=3,seed=0", "rounds.count=3,seed=1"]
    assert found.winner == {"rounds.count": 5}
    assert found.tied == [{"rounds.count": 8}]
    assert (found.split, found.validation_images, found.seeds) == ("Validation", 20, [0, 1])
    assert found.varied == {"rounds.count": [3, 5, 8]}
    assert found.data_sha256 == ["drawn-0", "drawn-1"]
    assert found.privacy is None
    assert "No privacy is claimed" in found.privacy_statement[0]
    assert Search.model_validate_json((tmp_path / "search.json").read_bytes()) == found
    with Image.open(tmp_path / "search.png") as image:
        assert image.format == "PNG"


def test_the_winner_can_be_run_as_it_is(simulate: FakeSimulate, tmp_path: Path) -> None:
    search(planned(3, 5), tmp_path, tell=silent)
    winner = Study.model_validate_json((tmp_path / "winner.json").read_bytes())
    assert winner == BASE.model_copy(update={"rounds": BASE.rounds.model_copy(update={"count": 5})})


def test_the_words_say_winner_tie_command_and_cost(simulate: FakeSimulate, tmp_path: Path) -> None:
    text = markdown(search(planned(3, 5, 8), tmp_path, tell=silent))
    assert text == (tmp_path / "search.md").read_text(encoding="utf-8")
    assert text.startswith("# Settings of tiny, chosen on Validation of synthetic\n")
    assert "Winner: `rounds.count=5`, accuracy 75.0 ± 0.0 % on\n20 images, seeds 0, 1." in text
    assert "Within one standard error of it (9.7 points): `rounds.count=8`.\n" in text
    assert "```sh\nfedward search x\n```" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {6}
    assert table[0] == "| Rank | `rounds.count` | Accuracy | Macro-F1 | Epsilon |"
    assert table[-1].startswith("| 3 | 3 | 55.0 ± 7.1 % |")
    assert "No privacy is claimed" in text


def test_everything_is_run_once_and_more_values_find_the_runs_of_fewer(
    simulate: FakeSimulate, tmp_path: Path
) -> None:
    told: list[str] = []
    search(planned(3, 5), tmp_path, tell=silent)
    found = search(planned(3, 5, 8), tmp_path, tell=lambda what, k, of: told.append(what))
    assert len(simulate.asked) == 6
    assert [what.endswith("finished before") for what in told] == [True] * 4 + [False] * 2
    assert len(found.candidates) == 3


def test_what_was_interrupted_is_resumed(simulate: FakeSimulate, tmp_path: Path) -> None:
    (tried,) = planned(3, seeds=(0,)).candidates
    run = tried.run(0, tmp_path)
    write_run(run.study, run.folder, status="interrupted")
    search(planned(3, seeds=(0,)), tmp_path, tell=silent)
    assert simulate.asked == [["--resume"]]


def test_a_stop_ends_it_and_what_is_finished_stays(simulate: FakeSimulate, tmp_path: Path) -> None:
    simulate.before = lambda requests: signal.raise_signal(signal.SIGINT)
    with pytest.raises(StoppedError):
        search(planned(3, 5), tmp_path, tell=silent)
    assert len(simulate.asked) == 1
    assert not (tmp_path / "search.json").exists()
    simulate.before = lambda requests: None
    search(planned(3, 5), tmp_path, tell=silent)
    assert len(simulate.asked) == 4


def test_a_folder_of_another_study_is_refused_before_anything_runs(
    simulate: FakeSimulate, tmp_path: Path
) -> None:
    search(planned(3, seeds=(0,)), tmp_path, tell=silent)
    other = BASE.model_copy(update={"training": BASE.training.model_copy(update={"epochs": 2})})
    message = r"seed=0 holds the run of another study \(training.epochs was 1, is 2\): remove it"
    with pytest.raises(RunError, match=message):
        search(planned(5, 3, seeds=(0,), base=other), tmp_path, tell=silent)
    assert len(simulate.asked) == 1


def test_runs_on_other_data_are_not_compared(simulate: FakeSimulate, tmp_path: Path) -> None:
    plan = planned(3, 5, seeds=(0,))
    simulate.write = lambda made, folder: write_run(
        made, folder, sha256="old" if made.rounds.count == 3 else "new"
    )
    with pytest.raises(RunError, match=r"count=5,seed=0 was run on other data .*new, not old"):
        search(plan, tmp_path, tell=silent)


def test_the_standard_error_is_the_larger_of_seeds_and_images() -> None:
    assert standard_error(row(0.5), 400) == pytest.approx(0.025)
    assert standard_error(row(0.5, std=0.02, seeds=4), 400) == pytest.approx(0.025)
    assert standard_error(row(0.5, std=0.2, seeds=4), 400) == pytest.approx(0.1)


def test_ties_are_within_one_standard_error_and_equals_keep_their_order() -> None:
    rows = [row(0.40), row(0.50), row(0.48), row(0.449)]
    best = ranked(rows)
    assert [one.accuracy_mean for one in best] == [0.50, 0.48, 0.449, 0.40]
    assert tied_with_first(best, 0.05) == [best[1]]
    first, second = row(0.5), row(0.5, std=0.1)
    assert ranked([first, second]) == [first, second]
    assert tied_with_first([first, second], 0.0) == [second]


def test_many_candidates_are_drawn_in_part(simulate: FakeSimulate, tmp_path: Path) -> None:
    from fedward.sims.search_plot import MOST, search_figure

    found = search(planned(3, 5), tmp_path, tell=silent)
    many = [row(0.5 + k / 1000, seeds=2) for k in range(MOST + 3)]
    figure = search_figure(found.model_copy(update={"candidates": ranked(many)}))
    (axes,) = figure.axes
    assert len(axes.get_yticklabels()) == MOST
    assert axes.get_yticklabels()[0].get_text() == f"rounds.count={500 + MOST + 2}"
    assert figure.get_suptitle().endswith("without the 3 worst")


def test_the_statement_says_what_is_not_covered() -> None:
    from fedward.sims.search_table import SearchPrivacy

    cost = SearchPrivacy(
        unit="image",
        delta=1e-5,
        epsilon_one_run=3.0,
        epsilon_all_runs=7.251,
        accountant="exact Gaussian differential privacy",
    )
    text = " ".join(privacy_statement(cost, runs=4))
    assert "Each run alone: epsilon is at most 3.00 at delta 10⁻⁵" in text
    assert "does not cover the choice" in text
    assert "All 4 runs together" in text
    assert "at most 7.26" in text
    assert "validation part has no guarantee" in text
    assert "Papernot and Steinke 2022" in text
    none = cost.model_copy(update={"epsilon_all_runs": None})
    assert "no finite epsilon can be claimed" in " ".join(privacy_statement(none, runs=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vary", "rounds.count=1"), "name a recipe (`fedward simulate --list`)"),
        (("demo",), "nothing to choose between"),
        (("demo", "--vary", "rounds.coutn=1"), "did you mean rounds.count?"),
        (("demo", "--vary", "rounds.count=0"), "rounds.count: Input should be greater than"),
        (("demo", "--config", "x.yaml", "--vary", "rounds.count=1"), "not both"),
        (("--config", "/nowhere.yaml", "--vary", "rounds.count=1"), "/nowhere.yaml cannot be read"),
        (("nobody", "--vary", "rounds.count=1"), "unknown recipe 'nobody'"),
        (("fer-private-8", "--vary", "rounds.count=1"), "--data PATH"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_made(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = CliRunner().invoke(main, ["search", *arguments, "--out", str(tmp_path / "s")])
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_the_command_is_the_one_that_repeats_it(simulate: FakeSimulate, tmp_path: Path) -> None:
    study = tmp_path / "my study.yaml"
    study.write_text(yaml.safe_dump(TINY))
    out = str(tmp_path / "s")
    arguments = ["search", "--config", str(study), "--vary", "rounds.count=3,5", "--out", out]
    done = CliRunner().invoke(main, [*arguments, "--seeds", "0,1", "--json"])
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == (tmp_path / "s" / "search.json").read_text()
    assert json.loads(done.stdout)["command"] == (
        f"fedward search --config '{study}' --vary rounds.count=3,5 --seeds 0,1 --out {out}"
    )
    told = CliRunner().invoke(main, [*arguments, "--seeds", "0,1"])
    assert "[4/4] rounds.count=5, seed 1, finished before" in told.stderr
    assert told.stdout.startswith("# Settings of tiny")
    assert told.stdout.endswith(f"saved: {out}/{', '.join(NAMES)}\n")


def test_a_stop_says_how_to_go_on(simulate: FakeSimulate, tmp_path: Path) -> None:
    simulate.before = lambda requests: signal.raise_signal(signal.SIGINT)
    arguments = ["search", "demo", "--vary", "rounds.count=3,5", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, [*arguments, "--seeds", "0", "--quiet"])
    assert done.exit_code == 130
    assert "the same command goes on where it stops here" in done.stderr


def test_the_validation_part_is_a_split_of_runs_alone(tmp_path: Path) -> None:
    """`fedward evaluate` does not make the cut, so it does not take the name."""
    (option,) = (one for one in main.commands["simulate"].params if one.name == "test_split")
    assert isinstance(option.type, Choice)
    assert set(option.type.choices) == set(
        get_args(DataConfig.model_fields["test_split"].annotation)
    )
    arguments = ["evaluate", str(tmp_path), "--data", "x.csv", "--split", "validation"]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 2
    assert "'validation' is not one of" in refused.stderr


def test_a_search_runs_for_real(fedward: Fedward, tmp_path: Path) -> None:
    private = {
        **TINY,
        "training": {"model": "scatter"},
        "privacy": {"epsilon": 8},
        "rounds": {"count": 2},
    }
    study, out = tmp_path / "private.yaml", tmp_path / "search"
    study.write_text(yaml.safe_dump(private))
    arguments = ("--config", study, "--vary", "training.learning_rate=10,100", "--seeds", "1")
    done = fedward("search", *arguments, "--out", out)
    assert done.returncode == 0, done.stderr
    assert set(NAMES) < {path.name for path in out.iterdir()}
    found = Search.model_validate_json((out / "search.json").read_bytes())
    assert len(found.candidates) == 2
    for one in found.candidates:
        run = Result.model_validate_json((out / one.runs[0].folder / "result.json").read_bytes())
        assert run.test is not None
        assert (run.test.split, run.test.accuracy) == ("Validation", one.accuracy_mean)
        assert (run.data.training, run.data.test) == (34 * 3, 8 * 3)
        assert run.data.sha256 == found.data_sha256[0]
        assert one.epsilon == max(h.epsilon or 0.0 for h in run.hospitals)
    assert found.privacy is not None
    assert found.privacy.epsilon_one_run == pytest.approx(8.0, rel=1e-6)
    mu = mu_for(epsilon=8.0, delta=1e-5)
    both = gaussian_epsilon(mu=2**0.5 * mu, delta=1e-5)
    assert found.privacy.epsilon_all_runs == pytest.approx(both, rel=1e-6)

    before = (out / "search.json").read_bytes()
    (out / "search.json").unlink()
    again = fedward("search", *arguments, "--out", out)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("finished before") == 2
    assert (out / "search.json").read_bytes() == before

    study.write_text(yaml.safe_dump({**private, "rounds": {"count": 3}}))
    refused = fedward("search", *arguments, "--out", out)
    assert refused.returncode == 1
    assert "holds the run of another study (rounds.count was 2, is 3)" in refused.stderr
