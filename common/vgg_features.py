"""Features of a face that a network saw in ImageNet's photographs: VGG16's convolutions, frozen.

The weights come from a local file (common/vgg_weights.py). Nothing of them is trained here: what
is learned is a linear head, as on all fixed features. Mirror images agree.

Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", configuration D.
"""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedward.common.arrays import Arrays
from fedward.common.features import FeatureKind, check_images
from fedward.common.vgg_weights import BLOCKS, digest, read_weights, weights_file

VERSION = "vgg16-1"  # raise it whenever a feature changes
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
COUNT = (256 + 512) * 3 * 3 + 512
CHUNK = 16  # images at a time: a map of the first layers then takes 9 MB


class Vgg16(nn.Module):
    """Maps of 48x48 images after the third, fourth and fifth pooling, from (n, 3, 48, 48).

    Parameters are called as torchvision's: features.0.weight to features.28.bias.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        seen = 3
        for block in BLOCKS:
            for channels in block:
                layers += [nn.Conv2d(seen, channels, 3, padding=1), nn.ReLU(inplace=True)]
                seen = channels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps (n, 256, 3, 3), where four cells of the third pooling are averaged, (n, 512, 3, 3)
        and (n, 512, 1, 1)."""
        pooled = []
        for layer in self.features:
            images = layer(images)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(images)
        return functional.avg_pool2d(pooled[2], 2), pooled[3], pooled[4]


def frozen_net(arrays: Arrays) -> Vgg16:
    """The network with these weights, of SHAPES; no random number is drawn for it."""
    with torch.device("meta"):
        net = Vgg16()
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    net.load_state_dict(tensors, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def colours(images: NDArray[np.uint8]) -> Tensor:
    """Grey images as three equal channels, normalised as ImageNet's; (n, 3, 48, 48)."""
    pixels = torch.from_numpy(images.astype(np.float32) / 255)[:, None]
    mean, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD))
    return ((pixels - mean) / spread).contiguous(memory_format=torch.channels_last)


def vgg_features(net: Vgg16, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of images, uint8 (n, 48, 48) -> float32 (n, COUNT) of unit length.

    The three kinds of maps, each the mean over a face and its mirror image, count alike. Memory
    beyond the result is bounded (one chunk of images).

    Raises:
        DataError: the images have another shape or type.
    """
    check_images(images)
    features = np.empty((len(images), COUNT), np.float32)
    with torch.inference_mode():
        for start in range(0, len(images), CHUNK):
            faces = colours(images[start : start + CHUNK])
            both = zip(net(faces), net(faces.flip(3)), strict=True)
            blocks = [functional.normalize((one + other).flatten(1)) for one, other in both]
            features[start : start + CHUNK] = functional.normalize(torch.cat(blocks, 1)).numpy()
    return features


def vgg16() -> FeatureKind:
    """The kind of features, with the weights that FEDWARD_VGG16 names.

    Raises:
        ConfigError: it names none.
        ModelError: the file cannot be used.
    """
    path = weights_file()
    status = path.stat()
    return _kind(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _kind(path: Path, size: int, modified_ns: int) -> FeatureKind:
    """A file that does not change is read once per process."""
    arrays = read_weights(path)
    sha256 = digest(arrays)
    extract = partial(vgg_features, frozen_net(arrays))
    return FeatureKind(
        f"{VERSION} {sha256}", COUNT, 1.0, extract, mark=f"needs_vgg16_weights_{sha256[:16]}"
    )
