"""The figures: they show the result's numbers, whatever the run's state, and stay readable."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fedward.common.errors import RunError
from fedward.common.faces import EMOTIONS
from fedward.common.result import Result
from fedward.server.drawing import png, spread
from fedward.server.figures import (
    SHOWN,
    Samples,
    confusion_matrix,
    hospital_accuracy,
    hospital_table,
    learning_curves,
    reference_marks,
    sample_predictions,
    write_figures,
)

Make = Callable[[str], Result]
ALL = {"learning_curves", "confusion", "hospitals", "hospital_accuracy", "samples"}


def test_a_finished_run_has_every_figure(figures: Path) -> None:
    written = list(figures.iterdir())
    assert {path.name for path in written} == {f"{name}.png" for name in ALL}
    for path in written:
        with Image.open(path) as image:
            image.verify()
            assert image.format == "PNG"
            assert 1000 < image.width <= 1600


def test_a_failed_run_has_only_what_it_knows_and_nothing_stale(
    made_result: Make, no_samples: Samples, tmp_path: Path
) -> None:
    for name in ALL:
        (tmp_path / f"{name}.png").write_bytes(b"from before")
    write_figures(made_result("failed"), no_samples, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hospitals.png"]


def test_a_running_run_has_curves_without_a_test(made_result: Make, samples: Samples) -> None:
    running = made_result("running")
    assert learning_curves(running) is not None
    assert confusion_matrix(running) is None
    assert hospital_accuracy(running) is None


def test_the_same_result_gives_the_same_bytes(made_result: Make) -> None:
    first, second = (learning_curves(made_result("open")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert png(first) == png(second)


def test_a_folder_that_cannot_be_is_one_clear_error(
    made_result: Make, samples: Samples, tmp_path: Path
) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(RunError, match="figures"):
        write_figures(made_result("open"), samples, tmp_path / "figures")


def test_curves_hold_the_rounds_and_the_reference_lines(made_result: Make) -> None:
    result = made_result("private")
    figure = learning_curves(result)
    assert figure is not None
    drawn = [np.asarray(line.get_ydata()) for line in figure.axes[0].get_lines()]
    flat = [float(line[0]) for line in drawn if len(line) == 2]
    curves = [line.tolist() for line in drawn if len(line) == 20]
    assert flat == pytest.approx([895 / 3589, 0.561, 0.24 + 0.015 * 4.5])
    assert curves[0] == [part.accuracy for part in result.rounds]
    assert curves[1] == [part.macro_f1 for part in result.rounds]


def test_reference_lines_are_only_those_that_are_known(made_result: Make) -> None:
    assert [mark.name for mark in reference_marks(made_result("open"))] == ["always “happy”"]
    assert reference_marks(made_result("running")) == []


def test_confusion_cells_hold_shares_and_counts(made_result: Make) -> None:
    figure = confusion_matrix(made_result("private"))
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == 49
    assert texts[3 * 7 + 3] == "76%\n680"


def test_an_absent_class_shows_dashes_not_a_division_by_zero(made_result: Make) -> None:
    result = made_result("private")
    assert result.test is not None
    table = [row if code != 1 else [0] * 7 for code, row in enumerate(result.test.confusion)]
    test = result.test.model_copy(update={"confusion": table})
    figure = confusion_matrix(result.model_copy(update={"test": test}))
    assert figure is not None
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[7:14] == ["–"] * 7


def test_a_few_hospitals_are_named_with_counts(made_result: Make) -> None:
    result = made_result("private")
    figure = hospital_table(result)
    assert figure is not None
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        hospital.name for hospital in result.hospitals
    ]
    assert len(left.texts) == 10 * len(EMOTIONS)
    assert "5,052  dim" in right.texts[1].get_text()


def test_two_hundred_hospitals_do_not_explode(made_result: Make) -> None:
    result = made_result("large")
    table, bars = hospital_table(result), hospital_accuracy(result)
    assert table is not None
    assert bars is not None
    assert max(*table.get_size_inches(), *bars.get_size_inches()) <= 10
    assert not table.axes[0].texts
    sizes = [bar.get_width() for bar in table.axes[1].patches]
    assert sizes == sorted((h.examples for h in result.hospitals), reverse=True)
    heights = [bar.get_height() for bar in bars.axes[0].patches]
    assert heights == sorted(h.accuracy for h in result.hospitals if h.accuracy is not None)


def test_hospitals_without_test_images_are_left_out(made_result: Make) -> None:
    result = made_result("open")
    first = result.hospitals[0].model_copy(update={"accuracy": None, "macro_f1": None})
    second = result.hospitals[1].model_copy(update={"macro_f1": None})
    hospitals = [first, second, *result.hospitals[2:]]
    figure = hospital_accuracy(result.model_copy(update={"hospitals": hospitals}))
    assert figure is not None
    assert len(figure.axes[0].patches) == 4
    assert png(figure)


def test_names_in_any_script_are_drawn_as_they_are(made_result: Make) -> None:
    result = made_result("open")
    odd = result.hospitals[0].model_copy(update={"name": "$\\frac{1$ 病院 " + "x" * 60})
    figure = hospital_table(result.model_copy(update={"hospitals": [odd]}))
    assert figure is not None
    assert len(figure.axes[0].get_yticklabels()[0].get_text()) == 24
    assert png(figure)


def test_samples_are_right_and_wrong_and_few(samples: Samples) -> None:
    figure = sample_predictions(samples)
    assert figure is not None
    faces = [axes for axes in figure.axes if axes.images]
    assert len(faces) == 20
    assert [axes.get_title() for axes in faces][:2] == ["angry 95%", "fear 88%"]
    assert next(axes.texts[0].get_text() for axes in faces if axes.texts) == "is disgust"
    many = Samples(*(np.concatenate([part] * 3) for part in vars(samples).values()))
    figure = sample_predictions(many)
    assert figure is not None
    assert len([axes for axes in figure.axes if axes.images]) == 2 * SHOWN


def test_without_samples_there_is_no_figure(no_samples: Samples) -> None:
    assert sample_predictions(no_samples) is None


def test_only_wrong_samples_make_one_group(samples: Samples) -> None:
    wrong = Samples(
        samples.images[1::2],
        samples.labels[1::2],
        samples.predicted[1::2],
        samples.confidence[1::2],
    )
    figure = sample_predictions(wrong)
    assert figure is not None
    assert len(figure.subfigs) == 1


def test_labels_that_are_apart_stay_where_they_are() -> None:
    assert spread([0.5, 0.1, 0.9], gap=0.1) == pytest.approx([0.5, 0.1, 0.9])


def test_labels_that_crowd_part_around_their_mean() -> None:
    assert spread([0.5, 0.5], gap=0.1) == pytest.approx([0.45, 0.55])


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.2))
def test_labels_keep_their_order_and_distance(values: list[float], gap: float) -> None:
    placed = spread(values, gap=gap)
    in_order = [placed[i] for i in sorted(range(len(values)), key=lambda i: values[i])]
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(in_order))
    assert sum(placed) == pytest.approx(sum(values), abs=1e-9)
