"""Convolutional networks on 48x48 grey faces.

Shapes: input float32 (n, 1, side, side), logits (n, 7). Both networks also take side 36, because
what follows the convolutions is pooled to a fixed 3x3; that makes a cheap start of training
possible. GroupNorm (Wu & He 2018) stands everywhere where BatchNorm would: statistics over a
batch would mix patients, which neither per-example clipping nor unequal hospitals allow. Without
BatchNorm, training starts slowly; centred kernels cure most of that.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from fedward.common.faces import EMOTIONS

CHANNELS_PER_GROUP = 16


class CentredConv2d(nn.Conv2d):
    """A convolution with kernels of mean zero, so that a map does not follow its inputs' mean.

    With the GroupNorm behind it, which undoes scale, this is weight standardisation.

    Source: Qiao et al. 2019, "Micro-Batch Training with Batch-Channel Normalization and Weight
    Standardization"; Huang et al. 2017, "Centered Weight Normalization".
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(n, in, h, w) to (n, out, ceil(h/stride), ceil(w/stride))."""
        kernels = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return F.conv2d(maps, kernels, None, self.stride, self.padding)


def convolution(
    channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Centred convolution, GroupNorm and ReLU; stride 2 halves height and width, rounding up."""
    return nn.Sequential(
        CentredConv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(channels_out // CHANNELS_PER_GROUP, channels_out),
        nn.ReLU(inplace=True),
    )


class Unshuffle(nn.PixelUnshuffle):
    """torch's, which trades half the resolution for four channels; it takes no images too, as a
    private step may draw them.

    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution", reversed.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, maps: Tensor) -> Tensor:
        """(n, c, h, w) to (n, 4c, h/2, w/2)."""
        n, channels, height, width = maps.shape
        if n == 0:  # torch returns the shape that it was given
            return maps.reshape(0, 4 * channels, height // 2, width // 2)
        return super().forward(maps)


class Residual(nn.Module):
    """``x + convolution(x)``, shape kept (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Any (n, channels, h, w)."""
        return x + cast(Tensor, self.branch(x))


def layers_to_12x12() -> list[nn.Module]:
    """New layers (n, 1, 48, 48) -> (n, 4, 24, 24) -> (n, 32, 24, 24) -> (n, 64, 12, 12)."""
    return [Unshuffle(), convolution(4, 32), convolution(32, 64, stride=2), Residual(64)]


def layers_to_6x6() -> list[nn.Module]:
    """Those of ``layers_to_12x12``, then (n, 64, 12, 12) -> (n, 128, 6, 6)."""
    return [*layers_to_12x12(), convolution(64, 128, stride=2), Residual(128)]


class CompactCnn(nn.Module):
    """593 thousand parameters, 19 million multiplications a face: made for one core.

    Half the resolution is traded for four channels before the first convolution; every further
    halving is a strided convolution.

    (n, 1, 48, 48) -> (n, 4, 24, 24) -> (n, 32, 24, 24) -> (n, 64, 12, 12) -> (n, 128, 6, 6)
    -> (n, 256, 3, 3) -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*layers_to_6x6(), convolution(128, 256, stride=2))
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(256 * 3 * 3, len(EMOTIONS))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 7) of images (n, 1, side, side)."""
        maps = self.pool(self.convolutions(images))
        return cast(Tensor, self.head(self.dropout(maps.flatten(1))))


class ThesisCnn(nn.Module):
    """The network of the thesis that Fedward continues: 4.5 million parameters.

    Convolutions 32-64-128(5x5)-512-512, each of the last four followed by 2x2 max pooling, then
    dense layers 256-512-7. Its BatchNorm is GroupNorm here (see the head of this file).

    (n, 1, 48, 48) -> (n, 32, 48, 48) -> (n, 64, 24, 24) -> (n, 128, 12, 12) -> (n, 512, 6, 6)
    -> (n, 512, 3, 3) -> (n, 256) -> (n, 512) -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            convolution(1, 32),
            convolution(32, 64),
            nn.MaxPool2d(2),
            convolution(64, 128, kernel=5),
            nn.MaxPool2d(2),
            convolution(128, 512),
            nn.MaxPool2d(2),
            convolution(512, 512),
            nn.MaxPool2d(2),
        )
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.dense = nn.Sequential(
            nn.Linear(512 * 3 * 3, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(0.25),
            nn.Linear(256, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.25),
            nn.Linear(512, len(EMOTIONS)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 7) of images (n, 1, side, side)."""
        return cast(Tensor, self.dense(self.pool(self.convolutions(images)).flatten(1)))
