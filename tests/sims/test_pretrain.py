"""Teaching the network on drawings: what is drawn, that it learns, that it can be repeated."""

from pathlib import Path

import numpy as np
import torch
from click.testing import CliRunner

from fedward.common.arrays import read_arrays
from fedward.common.muscle_net import muscle_features
from fedward.sims.pretrain import LEARNING_RATE, _rate, draw_lesson, main, teach


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
    net = teach(
        lesson, epochs=20, seed=0, tell=lambda line: losses.append(float(line.rsplit(" ", 1)[1]))
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(losses) == 2  # after 20 and 40 steps
    assert losses[1] < losses[0]
    assert float(muscle_features(net, lesson.images).mean(0).abs().max()) < 1e-3


def test_the_command_writes_the_arrays(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for out in (first, second):
        done = CliRunner().invoke(main, [str(out), "--faces", "128", "--epochs", "1"])
        assert done.exit_code == 0, done.output
    assert "centre" in read_arrays(first)
    assert first.read_bytes() == second.read_bytes()
