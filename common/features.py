"""What a model with a linear head reads of a face: features that are fixed beforehand.

They are computed from one image alone, and nothing in them comes from a patient, so they cost no
privacy; what is learned on them is a linear head (common/linear.py).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedward.common.errors import DataError
from fedward.common.faces import SIDE


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
        mark: where hospitals could have different ones, what tells them apart, as a name: an array
            of this name in every model on these features keeps it from meeting others.
    """

    version: str
    count: int
    bound: float
    extract: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    mark: str | None = None


def check_images(images: NDArray[np.uint8]) -> None:
    """Raises DataError for images that are not uint8 (n, 48, 48)."""
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise DataError(
            f"fixed features need uint8 images (n, {SIDE}, {SIDE}), "
            f"not {images.dtype} {images.shape}; resize and convert them first"
        )
