"""Crafted patients, and the hospital that they are hidden in.

A canary is made to be found: its gradient should be as long as clipping allows, and unlike that of
a patient and of other canaries. That is a patch of stripes, for networks on pixels on grey, for
models on fixed features on a face put together from quarters of other people's, with an emotion at
random (what other images came to is in docs/audit.md). Each is in the data by a fair coin of the
audit's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.client.site import Site
from fedward.common.faces import EMOTIONS, SIDE, FaceSet
from fedward.sims.partition import declared_size, units_in

SMALLEST, LARGEST = 6, 30  # sides of a patch, in pixels
COARSEST, FINEST = 0.3, 3.0  # of stripes, in radians per pixel
GREY = 128

Image = NDArray[np.uint8]
SPECKLES = 24  # pixels in which two images of a patient differ


@dataclass(frozen=True)
class Canaries:
    """Crafted patients and their coins.

    Attributes:
        faces: all of them, patient after patient, ``each`` images for every one.
        each: images of a patient.
        inside: who is in the hospital's data, (patients,).
    """

    faces: FaceSet
    each: int
    inside: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.inside)

    def present(self) -> FaceSet:
        """The images of those whose coin says so."""
        return self.faces.take(np.flatnonzero(np.repeat(self.inside, self.each)))


def craft(
    count: int,
    *,
    draw: Callable[[np.random.Generator], Image],
    each: int,
    first: int,
    rng: np.random.Generator,
) -> Canaries:
    """Make canaries and toss their coins.

    Args:
        count: patients.
        draw: makes the image of one, such as ``stripes``.
        each: images of a patient, which differ in a few pixels and share an emotion.
        first: number of the first patient; the others follow.
        rng: of images, emotions and coins.
    """
    inside = rng.random(count) < 0.5
    labels = rng.integers(0, len(EMOTIONS), count)
    images = np.repeat(np.stack([draw(rng) for _ in range(count)]), each, axis=0)
    if each > 1:
        for image in images:
            places = rng.integers(0, SIDE, (2, SPECKLES))
            image[tuple(places)] = rng.integers(0, 256, SPECKLES)
    patients = np.repeat(np.arange(first, first + count), each)
    return Canaries(FaceSet(images, np.repeat(labels, each), patients), each, inside)


def striped_collage(faces: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """The four quarters of four random faces out of (n, 48, 48), each where it was, with a patch
    of stripes."""
    image = np.empty((SIDE, SIDE), np.uint8)
    half = SIDE // 2
    for number, face in enumerate(rng.integers(0, len(faces), 4)):
        down, along = divmod(number, 2)
        quarter = (slice(down * half, (down + 1) * half), slice(along * half, (along + 1) * half))
        image[quarter] = faces[face][quarter]
    return _with_stripes(image, rng)


def stripes(rng: np.random.Generator) -> Image:
    """Mid-grey with a patch of stripes."""
    return _with_stripes(np.full((SIDE, SIDE), GREY, np.uint8), rng)


def _with_stripes(image: Image, rng: np.random.Generator) -> Image:
    """An image with one striped patch: where, how large, how fine and in which direction is
    random."""
    height, width = rng.integers(SMALLEST, LARGEST + 1, 2)
    top, left = rng.integers(0, SIDE + 1 - height), rng.integers(0, SIDE + 1 - width)
    angle, fineness = rng.uniform(0, np.pi), rng.uniform(COARSEST, FINEST)
    down, along = np.mgrid[:height, :width]
    wave = fineness * (down * np.cos(angle) + along * np.sin(angle)) + rng.uniform(0, 2 * np.pi)
    image[top : top + height, left : left + width] = np.rint(GREY + (GREY - 1) * np.sin(wave))
    return image


def hide(canaries: Canaries, among: Site, cache: Path) -> Site:
    """The hospital with the canaries whose coin says so.

    Its public size expects half of the canaries and so tells nothing of the coins.
    """
    here = canaries.present()
    faces = FaceSet(
        np.concatenate([among.faces.images, here.images]),
        np.concatenate([among.faces.labels, here.labels]),
        np.concatenate([among.faces.patients, here.patients]),
    )
    size = declared_size(units_in(among.faces.patients, among.unit) + len(canaries) // 2)
    return replace(among, faces=faces, size=size, cache=cache)
