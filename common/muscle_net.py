"""A convolutional network that has learned faces from drawings alone, as a fixed feature.

It was taught, once and for all hospitals, to read off drawn faces (sims/synthetic.py) how far every
muscle is moved, who is shown, and how the camera stands; sims/pretrain.py does that. No photograph
had a part in it, so its answers about a patient's face cost no privacy. What it knows (where mouth,
lids and brows are, and how they move) is what a private model cannot afford to learn from patients.

Source: Tramer & Boneh 2021, "Differentially Private Learning Needs Better Features (or Much More
Data)"; muscles after Ekman & Friesen 1978, "Facial Action Coding System".
"""

import hashlib
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedward.common.arrays import load_arrays, read_arrays
from fedward.common.cnn import layers_to_6x6
from fedward.common.scattering import standardised
from fedward.common.taught import MUSCLES

MAPS = 128 * 6 * 6
CHUNK = 64  # images at a time


class MuscleNet(nn.Module):
    """Feature maps of a face, (n, 1, 48, 48) -> (n, MAPS): compact-cnn up to its 6x6 maps.

    The buffer ``centre`` (MAPS,) is the mean over drawn faces, by which ``muscle_features`` centres
    maps; it is no part of the forward pass.
    """

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*layers_to_6x6())
        self.register_buffer("centre", torch.zeros(MAPS))

    def forward(self, images: Tensor) -> Tensor:
        """Maps (n, MAPS) of standardised images (n, 1, 48, 48)."""
        return cast(Tensor, self.convolutions(images).contiguous().flatten(1))


def muscle_features(net: MuscleNet, images: NDArray[np.uint8]) -> Tensor:
    """Centred maps, the mean over a face and its mirror image, uint8 (n, 48, 48) -> (n, MAPS)."""
    features = torch.empty(len(images), MAPS)
    with torch.inference_mode():
        for start in range(0, len(images), CHUNK):
            faces = standardised(images[start : start + CHUNK])
            maps = (net(faces) + net(faces.flip(3))) / 2
            features[start : start + CHUNK] = maps - net.centre
    return features


@lru_cache(maxsize=1)
def shipped_net() -> MuscleNet:
    """The network as it comes with Fedward, from common/taught.py."""
    net = MuscleNet()
    load_arrays(net, read_arrays(MUSCLES))
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@lru_cache(maxsize=1)
def shipped_version() -> str:
    """Changes whenever the shipped network does."""
    return hashlib.sha256(MUSCLES.read_bytes()).hexdigest()[:16]
