"""Teaches networks on drawn faces. Run once; the results are shipped (common/taught.py).

    python -m fedward.sims.pretrain muscle common/muscle_net.safetensors
    python -m fedward.sims.pretrain lstm common/row_lstm.safetensors

A network is asked for the numbers that each face was drawn with (sims/lesson.py). An image takes it
a few milliseconds; either takes about a quarter of an hour on one quiet core.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fedward.common.arrays import Arrays, save_arrays, to_arrays
from fedward.common.augment import random_views
from fedward.common.cnn import convolution
from fedward.common.faces import EMOTIONS, SIDE
from fedward.common.lstm import RowLstm
from fedward.common.muscle_net import CHUNK, MuscleNet
from fedward.common.scattering import standardised
from fedward.common.seeds import torch_generator
from fedward.sims.lesson import Lesson, draw_lesson

EMOTION_WEIGHT = 0.2
BATCH, LEARNING_RATE, WARMUP_STEPS = 128, 2e-3, 200
TELL_EVERY = 20  # steps
COVERED = 12  # pixels: half of all batches lose a square, so that no part is trusted alone


class MuscleStudent(nn.Module):
    """The network of common/muscle_net.py with what it answers by while it learns,
    (n, 1, 48, 48) -> (n, answers)."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.net = MuscleNet()
        self.read = nn.Sequential(
            convolution(128, 256, stride=2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(256 * 3 * 3, answers),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Numbers and logits of standardised images."""
        answers: Tensor = self.read(self.net.convolutions(images))
        return answers

    def learned(self, faces: Tensor) -> Arrays:
        """The network's arrays, with the centre of its maps over some of these faces."""
        net, seen = self.net.eval(), faces[: 64 * CHUNK].split(CHUNK)
        with torch.no_grad():
            net.centre.copy_(sum((net(part) + net(part.flip(3))).sum(0) for part in seen) / 2)
            net.centre.div_(sum(len(part) for part in seen))
        return to_arrays(net)


class RowStudent(nn.Module):
    """The LSTM over rows and columns (common/lstm.py), likewise."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.net = RowLstm()
        self.read = nn.Sequential(self.net.dropout, nn.Linear(self.net.head.in_features, answers))

    def forward(self, images: Tensor) -> Tensor:
        """Numbers and logits of standardised images."""
        answers: Tensor = self.read(self.net.seen(images))
        return answers

    def learned(self, _: Tensor) -> Arrays:
        """The arrays of the recurrences: the head for emotions was not taught."""
        return {k: v for k, v in to_arrays(self.net).items() if not k.startswith("head")}


STUDENTS: dict[str, type[MuscleStudent] | type[RowStudent]] = {
    "muscle": MuscleStudent,
    "lstm": RowStudent,
}
EPOCHS = {"muscle": 8, "lstm": 6}


def teach(
    network: str, lesson: Lesson, *, epochs: int, seed: int, tell: Callable[[str], None]
) -> Arrays:
    """What a network has learned in a lesson; torch's global random state is left as it was."""
    faces = torch.cat([standardised(part) for part in np.array_split(lesson.images, 64)])
    g = torch_generator(seed, "pretrain", "batches")
    asked = lesson.numbers.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        student = STUDENTS[network](asked + len(EMOTIONS))
        student.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(student.parameters(), betas=(0.9, 0.98), weight_decay=0.02)
        steps = epochs * (len(faces) // BATCH)
        for step, rows in enumerate(_batches(len(faces), epochs, g)):
            optimizer.param_groups[0]["lr"] = _rate(step, steps)
            answers = student(_covered(random_views(faces[rows], side=SIDE, generator=g), g))
            off = (answers[:, :asked] - lesson.numbers[rows]).square()
            named = F.cross_entropy(answers[:, asked:], lesson.labels[rows], label_smoothing=0.1)
            loss = (off * lesson.weights).mean() + EMOTION_WEIGHT * named
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if step % TELL_EVERY == TELL_EVERY - 1:
                tell(f"step {step + 1} of {steps}: loss {loss.item():.3f}")
    return student.learned(faces)


def _batches(count: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator)
        yield from order[: count - count % BATCH].split(BATCH)


def _rate(step: int, steps: int) -> float:
    """A linear start, then a cosine to zero."""
    start = min(1.0, (step + 1) / WARMUP_STEPS)
    return LEARNING_RATE * start * 0.5 * (1 + math.cos(math.pi * step / steps))


def _covered(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Half of all batches with a square of one grey over the same place of every face."""
    if torch.rand((), generator=generator) < 0.5:
        top, left = torch.randint(0, SIDE - COVERED, (2,), generator=generator).tolist()
        grey = torch.randn((), generator=generator)
        faces[:, :, top : top + COVERED, left : left + COVERED] = grey
    return faces


@click.command()
@click.argument("network", type=click.Choice(sorted(STUDENTS)))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--faces", default=80_000, show_default=True, help="Faces to draw.")
@click.option("--epochs", type=click.IntRange(1), help="Default: 8 for muscle, 6 for lstm.")
@click.option("--seed", default=0, show_default=True)
def main(network: str, out: Path, faces: int, epochs: int | None, seed: int) -> None:
    """Teach a NETWORK and write its arrays to OUT."""
    began = time.monotonic()
    lesson = draw_lesson(faces, seed)
    arrays = teach(
        network,
        lesson,
        epochs=epochs or EPOCHS[network],
        seed=seed,
        tell=lambda line: click.echo(line, err=True),
    )
    save_arrays(out, arrays)
    click.echo(f"{out}: {time.monotonic() - began:.0f} s", err=True)


if __name__ == "__main__":
    main()
