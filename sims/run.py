"""One simulated run to do, as `fedward simulate` and `flwr run .` hand it on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fedward.common.config import Study
from fedward.common.result import RoundPart
from fedward.sims.stopwatch import Stopwatch


@dataclass(frozen=True)
class Run:
    """What to do, and who follows it.

    Attributes:
        study: what.
        folder: where its run directory is.
        began: monotonic time of the command.
        tell: hears of every finished round, and how many there will be.
        stopped: whether the user asked to stop.
        data_time: runs while faces are read and dealt and the test set is prepared.
    """

    study: Study
    folder: Path
    began: float
    tell: Callable[[RoundPart, int], None]
    stopped: Callable[[], bool]
    data_time: Stopwatch = field(default_factory=Stopwatch)
