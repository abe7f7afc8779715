"""The table of accuracies: its numbers are those of the runs, and no run is made twice."""

import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from fedward.common.config import Study, parse_study
from fedward.common.errors import ConfigError, RunError, StoppedError
from fedward.common.metrics import score
from fedward.common.result import Result
from fedward.sims import accuracy_runs
from fedward.sims.accuracy_runs import (
    Measured,
    StopRequests,
    await_process,
    read_measured,
    stop_requests,
)
from fedward.sims.accuracy_table import AccuracyTable, table_of
from fedward.sims.accuracy_words import markdown
from fedward.sims.bench_accuracy import TABLE, bench_accuracy, planned, rows_here
from fedward.sims.cli import main
from fedward.sims.recipes import RECIPES, recipe

sys.path.insert(0, str(Path(__file__).parent))
from conftest import TINY
from fake_runs import FakeSimulate, answers, write_result

ACCURACIES = {0: 0.5, 1: 0.6, 2: 0.55}


def study(seed: int = 0, name: str = "tiny", rounds: int = 4) -> Study:
    document = {**TINY, "name": name, "seed": seed, "rounds": {"count": rounds}}
    return parse_study(document)


def write_run(made: Study, folder: Path, *, status: str = "completed") -> None:
    """What a run of 20 test faces leaves, with the accuracy of its seed."""
    write_result(made, folder, accuracy=ACCURACIES[made.seed], status=status)


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> FakeSimulate:
    fake = FakeSimulate(write_run)
    monkeypatch.setattr(accuracy_runs, "simulate_in_process", fake)
    return fake


def silent(what: str, number: int, cases: int) -> None:
    pass


def test_the_published_rows_are_recipes_and_each_is_another() -> None:
    assert len(set(TABLE)) == len(TABLE)
    studies = planned(TABLE, data="fer.csv", seeds=(0, 1), split="all")
    assert len(studies) == 2 * len(TABLE)
    assert {made.data.test_split for made in studies} == {"all"}
    assert {made.seed for made in studies} == {0, 1}
    assert all(Path(made.data.source).is_absolute() for made in studies)
    rows = {(s.hospitals.count, s.training.model, s.privacy and s.privacy.epsilon) for s in studies}
    assert len(rows) == len(TABLE)


def test_the_row_that_needs_weights_is_left_out_without_them_and_says_so(
    vgg16_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, left_out = rows_here()
    assert names == tuple(name for name in TABLE if name != "fer-pooled-vgg16")
    assert len(names) == len(TABLE) - 1
    assert left_out is not None
    assert "set FEDWARD_VGG16" in left_out
    assert len(left_out.splitlines()) == 1
    for file in (vgg16_file, tmp_path / "mistyped.safetensors"):
        monkeypatch.setenv("FEDWARD_VGG16", str(file))
        assert rows_here() == (TABLE, None)


def test_the_row_that_needs_weights_is_refused_before_anything_runs(
    simulate: FakeSimulate, tmp_path: Path
) -> None:
    arguments = ("--seeds", "0", "--data", "fer.csv", "--out", str(tmp_path))
    rows = ("--recipe", "fer-compact", "--recipe", "fer-pooled-vgg16")
    answer = CliRunner().invoke(main, ["bench", "accuracy", *rows, *arguments])
    assert answer.exit_code == 1
    assert "set FEDWARD_VGG16" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert simulate.asked == []


@pytest.mark.parametrize("how", ["--quiet", "--json", None])
def test_the_command_tells_what_it_leaves_out_and_runs_the_rest(
    simulate: FakeSimulate, tmp_path: Path, how: str | None
) -> None:
    arguments = ["--seeds", "0", "--data", "fer.csv", "--out", str(tmp_path)]
    answer = CliRunner().invoke(main, ["bench", "accuracy", *arguments, *([how] if how else [])])
    assert answer.exit_code == 0, answer.stderr
    assert answer.stderr.startswith("row fer-pooled-vgg16 is left out: ")
    assert len(simulate.asked) == len(TABLE) - 1
    table = AccuracyTable.model_validate_json((tmp_path / "accuracy.json").read_bytes())
    assert [row.recipe for row in table.rows] == [n for n in TABLE if n != "fer-pooled-vgg16"]
    if how == "--json":
        assert AccuracyTable.model_validate_json(answer.stdout) == table


@pytest.mark.usefixtures("vgg16_weights")
def test_with_weights_every_row_is_run_and_drawn(simulate: FakeSimulate, tmp_path: Path) -> None:
    arguments = ["--seeds", "0", "--data", "fer.csv", "--out", str(tmp_path), "--quiet"]
    answer = CliRunner().invoke(main, ["bench", "accuracy", *arguments])
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert len(simulate.asked) == len(TABLE)
    text = (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert "| pooled | `vgg16` | none | 50.0 % |" in text
    assert (tmp_path / "accuracy.png").exists()


def test_the_table_has_means_spreads_and_the_order_of_the_studies(tmp_path: Path) -> None:
    base = recipe("fer-private-3")
    private = [base.model_copy(update={"seed": seed}) for seed in (2, 0, 1)]
    studies = [*private, study(seed=1, name="second")]
    for made in studies:
        write_run(made, tmp_path / f"{made.name}-{made.seed}")
    measured = [read_measured(made, tmp_path / f"{made.name}-{made.seed}") for made in studies]
    first, second = table_of(measured).rows
    assert (first.setting, first.model, first.epsilon) == ("ten hospitals", "pretrained", 3.0)
    assert (first.recipe, first.seeds) == ("fer-private-3", [2, 0, 1])
    assert first.accuracies == [0.55, 0.5, 0.6]
    assert first.accuracy_mean == pytest.approx(0.55)
    assert first.accuracy_std == pytest.approx(statistics.stdev([0.5, 0.6, 0.55]))
    assert first.macro_f1_mean == pytest.approx(
        statistics.fmean(run.test.macro_f1 for run in measured[:3])
    )
    assert first.seconds_mean == 101.0
    assert (second.setting, second.epsilon) == ("3 hospitals", None)
    assert (second.accuracy_mean, second.accuracy_std) == (0.6, None)


def test_one_hospital_is_called_pooled(tmp_path: Path) -> None:
    pooled = recipe("fer-pooled-lstm-8")
    write_run(pooled, tmp_path)
    (row,) = table_of([read_measured(pooled, tmp_path)]).rows
    assert (row.setting, row.model, row.epsilon) == ("pooled", "lstm", 8.0)


def test_the_words_say_delta_unit_split_and_spread(tmp_path: Path) -> None:
    studies = [
        *planned(["fer-private-8"], data="fer2013.csv", seeds=(0, 1), split="all"),
        *planned(["fer-compact"], data="fer2013.csv", seeds=(0,), split="all"),
    ]
    for made in studies:
        write_run(made, tmp_path / made.name / str(made.seed))
    runs = [read_measured(made, tmp_path / made.name / str(made.seed)) for made in studies]
    text = markdown(table_of(runs), studies)
    assert text.startswith("# Accuracy on PublicTest+PrivateTest of fer2013.csv\n")
    private, public = (line for line in text.splitlines() if "`fer-" in line)
    assert "| 8 (delta 1e-5, one image) | 55.0 ± 7.1 % |" in private
    assert "| 0, 1 | `fer-private-8` |" in private
    assert "| `compact-cnn` | none | 50.0 % |" in public
    heads = next(line for line in text.splitlines() if line.startswith("| Setting"))
    assert {line.count("|") for line in (heads, private, public)} == {8}
    assert "\n|---|---|" in text


def test_everything_is_run_once(simulate: FakeSimulate, tmp_path: Path) -> None:
    studies = [study(seed) for seed in (0, 1)]
    told: list[str] = []

    def tell(what: str, number: int, cases: int) -> None:
        told.append(f"{number + 1}/{cases} {what}")

    first = bench_accuracy(studies, tmp_path, tell=tell)
    assert simulate.asked == [["--config", "--out"]] * 2
    assert told == ["1/2 tiny, seed 0", "2/2 tiny, seed 1"]
    again = bench_accuracy([*studies, study(2)], tmp_path, tell=tell, quiet=True)
    assert simulate.asked[2:] == [["--config", "--out", "--quiet"]]
    assert told[2] == "1/3 tiny, seed 0, finished before"
    assert [row.accuracies for row in (*first.rows, *again.rows)] == [[0.5, 0.6], [0.5, 0.6, 0.55]]
    saved = AccuracyTable.model_validate_json((tmp_path / "accuracy.json").read_bytes())
    assert saved == again
    assert "55.0 ± 5.0 %" in (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    with Image.open(tmp_path / "accuracy.png") as image:
        assert image.format == "PNG"


@pytest.mark.parametrize("status", ["interrupted", "running", "failed"])
def test_what_was_interrupted_is_resumed(
    simulate: FakeSimulate, tmp_path: Path, status: str
) -> None:
    write_run(study(1), tmp_path / "tiny-1", status=status)
    table = bench_accuracy([study(1)], tmp_path, tell=silent)
    assert simulate.asked == [["--resume"]]
    assert table.rows[0].accuracies == [0.6]


@pytest.mark.parametrize("status", ["completed", "interrupted"])
def test_a_run_of_another_study_is_refused_before_anything_runs(
    simulate: FakeSimulate, tmp_path: Path, status: str
) -> None:
    write_run(study(1, rounds=9), tmp_path / "tiny-1", status=status)
    message = r"tiny-1 holds the run of another study \(rounds.count was 9, is 4\): remove it"
    with pytest.raises(RunError, match=message):
        bench_accuracy([study(0), study(1)], tmp_path, tell=silent)
    assert simulate.asked == []


def test_a_configuration_that_this_version_does_not_know_is_refused(
    simulate: FakeSimulate, tmp_path: Path
) -> None:
    write_run(study(), tmp_path / "tiny-0")
    config = tmp_path / "tiny-0" / "config.json"
    config.write_text(config.read_text().replace('"epochs"', '"epoches"'))
    with pytest.raises(RunError, match=r"tiny-0 holds .*epoches.*: remove it"):
        bench_accuracy([study()], tmp_path, tell=silent)


def test_a_path_is_the_same_however_it_is_written(
    simulate: FakeSimulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (absolute,) = planned(["fer-compact"], data="fer.csv", seeds=(0,), split="PublicTest")
    assert absolute.data.source == str(tmp_path / "fer.csv")
    data = absolute.data.model_copy(update={"source": "./fer.csv"})
    write_run(absolute.model_copy(update={"data": data}), tmp_path / "fer-compact-0")
    bench_accuracy([absolute], tmp_path, tell=silent)
    assert simulate.asked == []


def test_noise_without_an_epsilon_is_no_row(simulate: FakeSimulate, tmp_path: Path) -> None:
    document = {**study().model_dump(), "privacy": {"noise_multiplier": 1.0}}
    with pytest.raises(ConfigError, match="states no epsilon"):
        bench_accuracy([parse_study(document)], tmp_path, tell=silent)
    assert simulate.asked == []


@pytest.mark.parametrize(("code", "why"), [(1, "its error is above"), (-9, "ended by signal 9")])
def test_a_failing_run_ends_it_and_what_was_finished_stays(
    simulate: FakeSimulate, tmp_path: Path, code: int, why: str
) -> None:
    write_run(study(0), tmp_path / "tiny-0")
    simulate.code = code
    with pytest.raises(RunError, match=why):
        bench_accuracy([study(0), study(1), study(2)], tmp_path, tell=silent)
    assert len(simulate.asked) == 1
    assert (tmp_path / "tiny-0" / "result.json").exists()
    assert not (tmp_path / "accuracy.json").exists()


def test_a_stop_ends_it_after_the_run_has_stopped(simulate: FakeSimulate, tmp_path: Path) -> None:
    def stop(requests: StopRequests) -> None:
        signal.raise_signal(signal.SIGINT)
        assert requests.count == 1

    simulate.before, simulate.code = stop, 130
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StoppedError):
        bench_accuracy([study(0), study(1)], tmp_path, tell=silent)
    assert len(simulate.asked) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_while_a_run_ends_well_begins_no_other(
    simulate: FakeSimulate, tmp_path: Path
) -> None:
    simulate.before = lambda requests: signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StoppedError):
        bench_accuracy([study(0), study(1)], tmp_path, tell=silent)
    assert len(simulate.asked) == 1
    assert accuracy_runs.done_already(study(0), tmp_path / "tiny-0")


def test_requests_to_stop_are_handed_on() -> None:
    wait = "try: print(flush=True), signal.pause()\nexcept KeyboardInterrupt: exit(7)"
    command = [sys.executable, "-c", f"import signal\n{wait}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with stop_requests() as requests:
            signal.raise_signal(signal.SIGINT)
            assert await_process(process, requests) == 7


def test_a_run_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no scores: remove"):
        read_measured(study(), tmp_path)


def test_measured_runs_make_the_picture_of_private_rows_alone(tmp_path: Path) -> None:
    from fedward.server.drawing import png
    from fedward.sims.accuracy_plot import accuracy_figure

    made = recipe("fer-private-1")
    test = score("PublicTest", *answers(9))
    both = [Measured(made, test, 1.0), Measured(recipe("fer-private-8"), test, 1.0)]
    figure = accuracy_figure(table_of(both), "PublicTest")
    (axes,) = figure.axes
    (line,) = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    assert line.get_xdata().tolist() == [1.0, 8.0]
    assert line.get_ydata().tolist() == [0.45, 0.45]
    assert png(figure)


@pytest.mark.parametrize("seeds", ["0,0", "a", "", "1,,2", "-1"])
def test_seeds_that_are_none_are_a_wrong_command_line(tmp_path: Path, seeds: str) -> None:
    arguments = ["bench", "accuracy", "--data", "x", "--out", str(tmp_path), "--seeds", seeds]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 2
    assert "different whole numbers" in answer.stderr


ONE_RUN = ("bench", "accuracy", "--recipe", "tiny", "--seeds", "1", "--split", "all")


@pytest.fixture
def tiny_recipe(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_CACHE", str(cache))
    monkeypatch.setitem(RECIPES, "tiny", lambda: study(rounds=1))  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny_recipe")
def test_the_command_runs_for_real(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [*ONE_RUN, "--out", str(tmp_path), "--data", "synthetic", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr + capfd.readouterr().err
    assert json.loads(done.stdout) == json.loads((tmp_path / "accuracy.json").read_text())
    (row,) = json.loads(done.stdout)["rows"]
    run = Result.model_validate_json((tmp_path / "tiny-1" / "result.json").read_bytes())
    assert run.test is not None
    assert row["accuracies"] == [run.test.accuracy]
    assert run.test.split == "PublicTest+PrivateTest"
    assert run.data.test == 54


@pytest.mark.usefixtures("tiny_recipe")
def test_the_command_fails_with_the_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [*ONE_RUN, "--out", str(tmp_path), "--data", str(tmp_path / "none.csv"), "--quiet"]
    failed = CliRunner().invoke(main, arguments)
    assert failed.exit_code == 1
    assert "none.csv" in capfd.readouterr().err
    assert "its error is above" in failed.stderr
    assert "Traceback" not in failed.stderr
