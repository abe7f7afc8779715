"""What a model with a linear head reads of a face: features that are fixed beforehand.

They are computed from one image alone, and nothing in them comes from a patient, so they cost no
privacy; what is learned on them is a linear head (common/linear.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FeatureKind:
    """One kind of features.

    Attributes:
        version: names the kind in every cache key; it changes whenever a value does.
        count: features of an image.
        bound: public bound of the L2 norm of one image's features; an image beyond it is scaled
            down to it where its features are released (common/linear.py).
        extract: uint8 (n, 48, 48) to float32 (n, count); mirror images agree. Raises DataError for
            images of another shape or type.
    """

    version: str
    count: int
    bound: float
    extract: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
