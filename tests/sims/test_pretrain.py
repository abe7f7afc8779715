"""Teaching the network on drawings: what is drawn, that it learns, that it can be repeated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fedward.common.arrays import load_arrays, read_arrays, to_arrays
from fedward.common.models import build
from fedward.common.muscle_net import MuscleNet, muscle_features
from fedward.sims.lesson import draw_lesson
from fedward.sims.pretrain import LEARNING_RATE, _rate, main, teach


def test_a_lesson_asks_for_standardised_numbers_of_drawn_faces() -> None:
    lesson = draw_lesson(60, seed=1)
    assert lesson.images.shape == (60, 48, 48)
    assert lesson.numbers.shape == (60, len(lesson.weights))
    torch.testing.assert_close(
        lesson.numbers.mean(0), torch.zeros_like(lesson.weights), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(lesson.numbers.std(0, correction=0), torch.ones_like(lesson.weights))
    assert set(lesson.labels.tolist()) <= set(range(7))
    assert np.array_equal(lesson.images, draw_lesson(60, seed=1).images)
    assert not np.array_equal(lesson.images, draw_lesson(60, seed=2).images)


def test_rates_rise_then_fall_to_nothing() -> None:
    rates = [_rate(step, 1000) for step in range(1000)]
    assert rates[0] < LEARNING_RATE / 100
    assert max(rates) > 0.85 * LEARNING_RATE
    assert rates[-1] < 1e-4 * LEARNING_RATE


def test_teaching_lowers_the_loss_and_centres_the_maps() -> None:
    lesson = draw_lesson(256, seed=0)
    losses: list[float] = []
    state = torch.random.get_rng_state()
    arrays = teach(
        "muscle",
        lesson,
        epochs=20,
        seed=0,
        tell=lambda line: losses.append(float(line.rsplit(" ", 1)[1])),
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(losses) == 2  # after 20 and 40 steps
    assert losses[1] < losses[0]
    net = MuscleNet()
    load_arrays(net, arrays)
    assert float(muscle_features(net.eval(), lesson.images).mean(0).abs().max()) < 1e-3


def test_the_lstm_learns_too() -> None:
    losses: list[float] = []
    told = lambda line: losses.append(float(line.rsplit(" ", 1)[1]))  # noqa: E731
    arrays = teach("lstm", draw_lesson(256, seed=0), epochs=20, seed=0, tell=told)
    assert losses[1] < losses[0]
    start = to_arrays(build("lstm", seed=0))
    assert arrays.keys() == {name for name in start if not name.startswith("head")}
    assert all(arrays[name].shape == start[name].shape for name in arrays)


@pytest.mark.parametrize(("network", "has"), [("muscle", "centre"), ("lstm", "rows.weight_ih_l0")])
def test_the_command_writes_the_arrays(network: str, has: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for out in (first, second):
        words = [network, str(out), "--faces", "128", "--epochs", "1"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
    assert has in read_arrays(first)
    assert first.read_bytes() == second.read_bytes()
