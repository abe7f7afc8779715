"""Recurrent networks that read a 48x48 face as sequences of rows and of columns.

Shapes: input float32 (n, 1, 48, 48), logits (n, 7); only that size, for the width of a step is
the width of the face. LSTM after Hochreiter & Schmidhuber 1997, both directions after Schuster &
Paliwal 1997; all steps are pooled (mean and maximum), so that no part of the face has to survive
to a last state.
"""

from typing import cast

import torch
from torch import Tensor, nn

from fedward.common.cnn import layers_to_12x12
from fedward.common.errors import ModelError
from fedward.common.faces import EMOTIONS, SIDE


def recurrence(width: int, hidden: int) -> nn.LSTM:
    """Both directions of one LSTM layer: (n, steps, width) to (n, steps, 2 x hidden)."""
    return nn.LSTM(width, hidden, batch_first=True, bidirectional=True)


def pooled(sequence: Tensor) -> Tensor:
    """Mean and maximum over all steps: (n, steps, d) to (n, 2 x d)."""
    return torch.cat([sequence.mean(1), sequence.amax(1)], dim=1)


def strips(images: Tensor, height: int) -> Tensor:
    """Rows of a face, ``height`` at a time: (n, 1, 48, 48) to (n, 48 / height, 48 x height).

    Raises:
        ModelError: the faces are not 48x48.
    """
    if images.shape[1:] != (1, SIDE, SIDE):
        raise ModelError(
            f"an LSTM reads faces of (1, {SIDE}, {SIDE}), not {tuple(images.shape[1:])}; "
            "train it without a low resolution"
        )
    return images.reshape(len(images), SIDE // height, SIDE * height)


class RowLstm(nn.Module):
    """One bidirectional LSTM down the rows and one along the columns, two lines a step.

    (n, 1, 48, 48) -> twice (n, 24, 96) -> twice (n, 24, 256) -> (n, 1024) -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = recurrence(2 * SIDE, 128)
        self.columns = recurrence(2 * SIDE, 128)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(8 * 128, len(EMOTIONS))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 7) of images (n, 1, 48, 48)."""
        return cast(Tensor, self.head(self.dropout(self.seen(images))))

    def seen(self, images: Tensor) -> Tensor:
        """What was read of images, (n, 1024)."""
        down, _ = self.rows(strips(images, 2))
        along, _ = self.columns(strips(images.transpose(2, 3), 2))
        return torch.cat([pooled(down), pooled(along)], dim=1)


class ThesisLstm(nn.Module):
    """The LSTM of the thesis that Fedward continues: rows from top to bottom, the last state tells.

    (n, 1, 48, 48) -> (n, 48, 48) -> (n, 128) -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(SIDE, 128, batch_first=True)
        self.head = nn.Linear(128, len(EMOTIONS))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 7) of images (n, 1, 48, 48)."""
        read, _ = self.rows(strips(images, 1))
        return cast(Tensor, self.head(read[:, -1]))


class CnnLstm(nn.Module):
    """The hybrid: convolutions see what is near, an LSTM reads their rows from top to bottom.

    (n, 1, 48, 48) -> (n, 4, 24, 24) -> (n, 32, 24, 24) -> (n, 64, 12, 12) -> (n, 12, 768)
    -> (n, 12, 256) -> (n, 512) -> (n, 7).
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*layers_to_12x12())
        self.rows = recurrence(64 * SIDE // 4, 128)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 128, len(EMOTIONS))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, 7) of images (n, 1, 48, 48)."""
        strips(images, 2)
        maps = self.convolutions(images)
        read, _ = self.rows(maps.transpose(1, 2).flatten(2))
        return cast(Tensor, self.head(self.dropout(pooled(read))))
