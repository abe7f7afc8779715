"""What a hospital is to the code that trains there: a name, a public size, and its faces."""

from dataclasses import dataclass
from pathlib import Path

from fedward.client.guard import Guard
from fedward.common.config import Randomness, Unit
from fedward.common.faces import FaceSet


@dataclass(frozen=True)
class Site:
    """One hospital.

    Attributes:
        name: unique in the consortium.
        size: its public size (rounded); all that anybody outside learns of how much it has.
        faces: its own training images. They never leave.
        cache: a folder of its own for features computed once; None computes them every time.
        unit: what ``size`` counts, and so whom private training there protects one by one.
        guard: keeps its budget; None in studies without privacy alone.
        randomness: "secure" comes from the operating system, and nobody can repeat it; "seeded"
            follows from the order's seed, which the server knows: for simulation, not private.
    """

    name: str
    size: int
    faces: FaceSet
    cache: Path | None
    unit: Unit = "image"
    guard: Guard | None = None
    randomness: Randomness = "secure"
