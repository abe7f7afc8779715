"""Scores held against a claim."""

import numpy as np
import pytest

from fedward.common.config import Study, parse_study
from fedward.common.errors import ConfigError
from fedward.sims.audit_verdict import judge


def study(**changes: object) -> Study:
    privacy = {"epsilon": 2.0}
    return parse_study(
        {"name": "s", "training": {"model": "scatter"}, "privacy": privacy, **changes}
    )


def test_scores_that_tell_all_refute_and_scores_that_tell_nothing_do_not() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random(200) < 0.5
    noise = rng.standard_normal(200)
    known, unknown = (judge(study(), 300, s, inside) for s in (noise + 9 * inside, noise))
    assert (known.right, known.guesses) == (80, 80)
    assert known.bound == known.most > known.claimed == pytest.approx(2.0)
    assert not known.passes
    assert unknown.passes
    assert unknown.bound < 0.5
    assert unknown.most == known.most


def test_either_bound_refutes() -> None:
    """Seventy-five of eighty: (epsilon, delta) alone does not see it, the curve does."""
    inside = np.repeat([True, False], 100)
    scores = np.where(inside, 1.0, -1.0)
    scores[:3], scores[100:102] = -2.0, 2.0
    found = judge(study(), 300, scores, inside)
    assert found.right == 75
    assert found.bound < found.claimed < found.curve
    assert not found.passes


def test_nothing_claimed_is_nothing_to_judge() -> None:
    with pytest.raises(ConfigError, match="claims no privacy"):
        judge(study(privacy=None), 300, np.zeros(40), np.zeros(40, bool))
