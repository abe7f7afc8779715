"""The bench: what it measures is what it says; timings themselves are not tested."""

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fedward.sims import bench_step
from fedward.sims.bench_memory import peak_memory
from fedward.sims.bench_step import StepBench, bench_case, relative_errors
from fedward.sims.bench_variants import (
    SIGNAL_LSTM,
    VARIANTS,
    Variant,
    make_batch,
    make_model,
    make_stepper,
)
from fedward.sims.cli import main

PRIVATE: tuple[Variant, ...] = tuple(v for v in VARIANTS if not v.startswith("plain"))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["compact-cnn", "signal-lstm"])
def test_all_private_variants_clip_the_same_sum(name: str) -> None:
    errors = relative_errors(name, torch.float64)
    assert tuple(errors) == PRIVATE
    assert max(errors.values()) < 1e-10


@pytest.mark.parametrize("variant", ["plain", "plain-best", "fedward"])
def test_a_step_changes_the_model(variant: Variant) -> None:
    inputs, labels = make_batch("signal-lstm", 4, torch.float32)
    model = make_model("signal-lstm")
    before = [p.detach().clone() for p in model.parameters()]
    stepper = make_stepper(variant, model, inputs, labels, noise_multiplier=1.0, clipping_norm=1.0)
    stepper.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert any(moved)


def test_a_step_in_parts_is_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, labels = make_batch("signal-lstm", 7, torch.float64)
    stepped = []
    for most in (7, 3):  # one part; three, of unequal size
        monkeypatch.setattr("fedward.common.train.MOST_ROWS", most)
        model = make_model("signal-lstm").double()
        made = {"noise_multiplier": 0.0, "clipping_norm": 0.1}
        stepper = make_stepper("fedward", model, inputs, labels, **made)
        stepper.step()
        stepped.append(torch.cat([g.flatten() for g in stepper.clipped_sums().values()]))
    torch.testing.assert_close(*stepped, rtol=0, atol=1e-15)


def test_models_and_batches_are_the_same_at_every_call() -> None:
    for name in ("lstm", "signal-lstm"):
        first, again = make_model(name).state_dict(), make_model(name).state_dict()
        assert all(torch.equal(first[key], again[key]) for key in first)
    (x, y), (again_x, again_y) = (make_batch("lstm", 3, torch.float32) for _ in range(2))
    assert torch.equal(x, again_x)
    assert torch.equal(y, again_y)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_case_has_a_row_for_every_variant() -> None:
    memory = dict.fromkeys(VARIANTS, 1.5)
    rows = bench_case("signal-lstm", 2, turns=2, memory=memory)
    assert tuple(row.variant for row in rows) == VARIANTS
    best = next(row for row in rows if row.variant == "plain-best")
    assert best.ratio_to_plain_best == 1
    assert all(row.seconds > 0 and math.isfinite(row.ratio_to_plain_best) for row in rows)
    assert [row.max_rel_error is None for row in rows] == [True, True, False, False, False, False]


def test_peak_memory_grows_with_the_batch() -> None:
    small, large = (
        peaks["fedward"] for peaks in peak_memory([(SIGNAL_LSTM, 2), (SIGNAL_LSTM, 64)])
    )
    if small is None or large is None:
        pytest.skip("this system does not tell peak memory")
    assert large > small + 10


def test_the_command_saves_and_prints_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"model": "lstm", "batch": 2, "variant": "fedward", "seconds": 0.5}
    numbers = {"ratio_to_plain_best": 1.25, "peak_mb": None, "max_rel_error": 1e-5}
    bench = StepBench.model_validate(
        {"torch": "2", "turns": 1, "rows": [{**row, **numbers, "max_rel_error_float64": None}]}
    )
    monkeypatch.setattr(bench_step, "bench_step", lambda *, quick, tell: bench)
    out = tmp_path / "figures.json"
    answer = CliRunner().invoke(main, ["bench", "step", "--json", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout) == json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(answer.stdout)["rows"][0]["ratio_to_plain_best"] == 1.25
    shown = CliRunner().invoke(main, ["bench", "step", "--out", str(out)])
    assert "1.25" in shown.stdout
    assert str(out.name) in shown.stdout
