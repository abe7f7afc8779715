"""A small convolutional head on scattering and HOG: it sees which cells lie side by side.

Source: Oyallon et al. 2017, "Scaling the Scattering Transform: Deep Hybrid Networks"; under privacy
Tramer & Boneh 2021, "Differentially Private Learning Needs Better Features", section 3.
"""

from typing import cast

import torch
from torch import Tensor, nn

from fedward.common.cnn import Residual, convolution
from fedward.common.faces import EMOTIONS
from fedward.common.scattering import BLOCKS, COARSE, FINE, Block


def blocks_of(features: Tensor) -> list[tuple[Block, Tensor]]:
    """Features (n, FEATURES) as what they are: left halves of maps, (n, c, side, side / 2)."""
    parts = features.split([b.channels * b.side * b.side // 2 for b in BLOCKS], dim=1)
    shapes = [(-1, b.channels, b.side, b.side // 2) for b in BLOCKS]
    return [(b, p.reshape(s)) for b, p, s in zip(BLOCKS, parts, shapes, strict=True)]


class ScatterCnn(nn.Module):
    """194 thousand parameters. HOG on 8x8 cells, which fits neither grid, is left out.

    (n, FEATURES) -> (n, 28, 12, 6) and (n, 213, 6, 3) -> twice (n, 64, 6, 3) -> (n, 128, 6, 3)
    -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        channels = {side: sum(b.channels for b in BLOCKS if b.side == side) for side in (6, 12)}
        self.fine = convolution(channels[FINE], 64, stride=2)
        self.coarse = convolution(channels[COARSE], 64, kernel=1)
        self.both = Residual(128)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(128 * COARSE * COARSE // 2, len(EMOTIONS))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, 7) of features (n, FEATURES)."""
        blocks = blocks_of(features)
        fine, coarse = (
            torch.cat([maps for block, maps in blocks if block.side == side], dim=1)
            for side in (FINE, COARSE)
        )
        maps = self.both(torch.cat([self.fine(fine), self.coarse(coarse)], dim=1))
        return cast(Tensor, self.head(self.dropout(maps.flatten(1))))
