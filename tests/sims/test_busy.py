"""Overlapping work counts once."""

import pytest

from fedward.sims.busy import BusyLog


def test_spans_are_joined_and_cut_to_the_window() -> None:
    log = BusyLog()
    for span in ((0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (9.0, 12.0)):
        log.note(*span)
    assert log.busy_s(0, 10) == pytest.approx(3 + 1 + 1)
    assert log.busy_s(2.5, 5.5) == pytest.approx(0.5 + 0.5)
    assert log.busy_s(3, 5) == 0
    assert BusyLog().busy_s(0, 1) == 0
