"""Teaches the network of common/muscle_net.py on drawn faces. Run once; its result is shipped.

    python -m fedward.sims.pretrain common/muscle_net.safetensors

Faces are drawn closer than those of the synthetic data set and with muscles that move more freely,
and the network is asked for the numbers that each was drawn with: how far every muscle is moved,
the features of the person, pose and light, and the emotion. One image takes it a few milliseconds;
the default takes about a quarter of an hour on one quiet core.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fedward.common.arrays import save_arrays, to_arrays
from fedward.common.augment import random_views
from fedward.common.cnn import convolution
from fedward.common.faces import EMOTIONS, SIDE
from fedward.common.muscle_net import CHUNK, MuscleNet
from fedward.common.scattering import standardised
from fedward.common.seeds import numpy_generator, torch_generator
from fedward.sims.face_drawing import draw_many
from fedward.sims.face_parameters import (
    Column,
    Identity,
    Shot,
    draw_expressions,
    draw_identities,
    draw_shots,
)

CLOSENESS = (1.38, 0.11)  # mean and spread of the scale: faces fill a 48x48 crop
MOMENT_SPREAD = 0.4
IMAGES_PER_PATIENT = 2
UNSEEN = {"parting", "backdrop", "clothes", "expressiveness"}  # of a person: not to be asked for
GROUP_WEIGHTS = {"expression": 1.0, "identity": 0.25, "shot": 0.5}
EMOTION_WEIGHT = 0.2
BATCH, LEARNING_RATE, WARMUP_STEPS = 128, 2e-3, 200
TELL_EVERY = 20  # steps
COVERED = 12  # pixels: half of all batches lose a square, so that no part is trusted alone


@dataclass(frozen=True)
class Lesson:
    """Drawn faces with what they show.

    Attributes:
        images: uint8 (n, 48, 48).
        numbers: what each was drawn with, standardised, float32 (n, k).
        weights: of the numbers in the loss, (k,).
        labels: emotion codes, int64 (n,).
    """

    images: NDArray[np.uint8]
    numbers: Tensor
    weights: Tensor
    labels: Tensor


def draw_lesson(faces: int, seed: int) -> Lesson:
    """Draw so many faces, an even number."""

    def rng(purpose: str) -> np.random.Generator:
        return numpy_generator(seed, "pretrain", purpose)

    owners = np.repeat(np.arange(faces // IMAGES_PER_PATIENT), IMAGES_PER_PATIENT)
    labels = rng("labels").integers(0, len(EMOTIONS), len(owners))
    who = draw_identities(len(owners) // IMAGES_PER_PATIENT, rng("identities"))
    shown = draw_expressions(
        labels,
        owners,
        who.expressiveness[owners],
        rng("expressions"),
        moment_spread=MOMENT_SPREAD,
    )
    shots = _closer(draw_shots(len(owners), rng("shots")), rng("scale"))
    images = draw_many(who, owners, shown, shots, rng("noise"))
    groups = {
        "expression": list(shown),
        "identity": _visible(who.take(owners)),
        "shot": _mirrorless(shots),
    }
    numbers = np.concatenate([column[:, 0] for group in groups.values() for column in group], 1)
    weights = [GROUP_WEIGHTS[name] for name, group in groups.items() for _ in group]
    scaled = (numbers - numbers.mean(0)) / numbers.std(0)
    return Lesson(
        images, torch.from_numpy(scaled).float(), torch.tensor(weights), torch.from_numpy(labels)
    )


def _closer(shots: Shot, rng: np.random.Generator) -> Shot:
    mean, spread = CLOSENESS
    drawn = np.clip(rng.standard_normal(shots.scale.shape), -2.5, 2.5)
    return shots._replace(scale=(mean + spread * drawn).astype(np.float32))


def _visible(who: Identity) -> list[Column]:
    return [column for name, column in who._asdict().items() if name not in UNSEEN]


def _mirrorless(shots: Shot) -> list[Column]:
    """Pose and light, without what changes when an image is mirrored."""
    return [np.abs(shots.yaw), shots.pitch, np.abs(shots.light_x), shots.light_y, shots.blur]


class Student(nn.Module):
    """The network with what it answers by while it learns, (n, 1, 48, 48) -> (n, answers)."""

    def __init__(self, net: MuscleNet, answers: int) -> None:
        super().__init__()
        self.net = net
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


def teach(lesson: Lesson, *, epochs: int, seed: int, tell: Callable[[str], None]) -> MuscleNet:
    """A network taught on a lesson; torch's global random state is left as it was."""
    faces = torch.cat([standardised(part) for part in np.array_split(lesson.images, 64)])
    g = torch_generator(seed, "pretrain", "batches")
    asked = lesson.numbers.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = MuscleNet()
        student = Student(net, asked + len(EMOTIONS)).train()
        student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    net.eval()
    with torch.no_grad():
        seen = faces[: 64 * CHUNK].split(CHUNK)
        net.centre.copy_(sum((net(part) + net(part.flip(3))).sum(0) for part in seen) / 2)
        net.centre.div_(sum(len(part) for part in seen))
    return net


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
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--faces", default=80_000, show_default=True, help="Faces to draw.")
@click.option("--epochs", default=8, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(out: Path, faces: int, epochs: int, seed: int) -> None:
    """Teach the network and write its arrays to OUT."""
    began = time.monotonic()
    lesson = draw_lesson(faces, seed)
    net = teach(lesson, epochs=epochs, seed=seed, tell=lambda line: click.echo(line, err=True))
    save_arrays(out, to_arrays(net))
    click.echo(f"{out}: {time.monotonic() - began:.0f} s", err=True)


if __name__ == "__main__":
    main()
