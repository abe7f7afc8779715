"""Estimates are those of the runs they name, and nothing else is an estimate."""

import statistics
import sys
from pathlib import Path

import pytest

from fedward.common.config import Study, parse_study
from fedward.sims.accuracy_table import epsilon_of, setting_of
from fedward.sims.over_seeds import accuracy_in_words
from fedward.sims.plan_estimates import estimates_for, finished_in, from_runs, published
from fedward.sims.recipes import RECIPES, recipe

sys.path.insert(0, str(Path(__file__).parent))
from conftest import TINY
from fake_runs import RunDirectory, write_result


def study(seed: int, **changed: object) -> Study:
    return parse_study({**TINY, "seed": seed, **changed})


def write(made: Study, folder: Path, accuracy: float, status: str = "completed") -> None:
    """A run whose result says what it was made with."""
    write_result(made, folder, accuracy=accuracy, status=status)
    directory = RunDirectory(folder)
    result = directory.read_result()
    assert result is not None
    directory.write_result(result.model_copy(update={"recipe": made.model_dump(mode="json")}))


def test_seeds_of_one_setting_are_one_row(tmp_path: Path) -> None:
    write(study(1), tmp_path / "a", 0.5)
    write(study(2), tmp_path / "b", 0.6)
    write(study(1, rounds={"count": 9}), tmp_path / "c", 0.9)
    write(study(3), tmp_path / "d", 0.9, status="failed")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "result.json").write_text("{}")
    rows = from_runs(finished_in(tmp_path))
    assert [(row.seeds, row.rounds) for row in rows] == [((1, 2), 4), ((1,), 9)]
    assert rows[0].accuracy_mean == pytest.approx(0.55)
    assert rows[0].accuracy_std == pytest.approx(statistics.stdev([0.5, 0.6]))
    assert rows[1].accuracy_std is None
    assert (rows[0].hospitals, rows[0].data, rows[0].epsilon) == (3, "synthetic", None)


def test_a_seed_run_twice_counts_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(study(1), tmp_path / name, 0.5)
    assert from_runs(finished_in(tmp_path))[0].seeds == (1,)


def test_where_the_data_lay_makes_no_difference(tmp_path: Path) -> None:
    for seed, place in ((1, "x/fer2013.csv"), (2, "/y/fer2013.csv")):
        write(study(seed, data={"source": place}), tmp_path / str(seed), 0.5)
    (row,) = from_runs(finished_in(tmp_path))
    assert (row.data, row.seeds) == ("fer2013.csv", (1, 2))


def test_only_the_same_model_is_an_estimate(tmp_path: Path) -> None:
    write(study(1), tmp_path / "a", 0.5)
    models = {row.model for row in estimates_for("pretrained", tmp_path)}
    assert models == {"pretrained"}
    assert estimates_for("lstm", tmp_path)[0].source == "runs"
    assert estimates_for("thesis-cnn", tmp_path / "missing") == ()


def test_the_published_rows_are_those_of_their_recipes() -> None:
    rows = published()
    assert len(rows) == len({row.recipe for row in rows})
    for row in rows:
        assert row.recipe in RECIPES
        made = recipe(row.recipe)
        assert (row.model, row.epsilon) == (made.training.model, epsilon_of(made))
        assert setting_of(made) == {1: "pooled", 10: "ten hospitals"}[row.hospitals]
        assert len(row.seeds) > 1 or row.accuracy_std is None


@pytest.mark.parametrize("name", ["fer-private-8", "fer-private-1", "fer-pooled-3"])
def test_the_published_table_is_that_of_the_docs(name: str) -> None:
    (row,) = (row for row in published() if row.recipe == name)
    page = Path(__file__).parents[2] / "docs" / "recipes.md"
    (line,) = (
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{name}`")
    )
    assert accuracy_in_words(row.accuracy_mean, row.accuracy_std) in line
    assert f"{100 * row.macro_f1_mean:.1f} %" in line
