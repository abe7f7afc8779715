"""Only what is inside the blocks counts."""

from contextlib import suppress

from fedward.sims.stopwatch import Stopwatch


def test_blocks_add_up_also_those_that_fail() -> None:
    times = iter([10.0, 11.5, 20.0, 20.25])
    watch = Stopwatch(lambda: next(times))
    with watch:
        pass
    assert watch.seconds == 1.5
    with suppress(ValueError), watch:
        raise ValueError
    assert watch.seconds == 1.75
