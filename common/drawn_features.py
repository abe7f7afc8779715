"""The strongest fixed features: scattering beside a network taught on drawings, made nonlinear.

Both halves have unit length, so that they count alike; random features (common/random_features.py)
of the two together let the linear head on them see products of what both see.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from fedward.common.features import FeatureKind
from fedward.common.muscle_net import muscle_features, shipped_net, shipped_version
from fedward.common.random_features import random_features
from fedward.common.scattering import VERSION, extract

COUNT = 8192
CHUNK = 128  # images at a time


def extract_drawn(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of images, uint8 (n, 48, 48) -> float32 (n, COUNT) of unit length; mirror images
    agree. Raises DataError as ``extract`` of common/scattering.py."""
    net = shipped_net()
    features = np.empty((len(images), COUNT), np.float32)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        halves = torch.from_numpy(extract(part)), muscle_features(net, part)
        seen = torch.cat([torch.nn.functional.normalize(half, dim=1) for half in halves], 1)
        features[start : start + CHUNK] = random_features(seen, COUNT).numpy()
    return features


def drawn() -> FeatureKind:
    """The kind of features, with the network that is shipped."""
    return FeatureKind(f"drawn-1 {VERSION} {shipped_version()}", COUNT, 1.0, extract_drawn)
