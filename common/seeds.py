"""Independent random generators, derived from one seed and a path of labels.

Every random choice of a simulation names its purpose, so that the order in which things happen
(one worker or two, a resumed run or an uninterrupted one) never changes a number.
"""

import hashlib

import numpy as np
import torch


def derive(seed: int, *labels: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. ``derive(7, "round", 3, "hospital-02", "batches")``."""
    text = "/".join([str(seed), *map(str, labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *labels: str | int) -> np.random.Generator:
    """A numpy generator for one purpose."""
    return np.random.default_rng(derive(seed, *labels))


def torch_generator(seed: int, *labels: str | int) -> torch.Generator:
    """A CPU torch generator for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *labels))
