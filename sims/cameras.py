"""Named cameras: how the same face looks when another hospital takes its picture.

They range from mild (``soft-focus``) to severe (``night-shift``, ``negative``). A camera is a pure
function of the images and a generator.

Source: the kinds of corruption follow Hendrycks & Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", arXiv:1903.12261.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from fedward.common.errors import ConfigError

CHUNK = 2048  # images developed at a time, which bounds the memory of the float32 copies


@dataclass(frozen=True)
class Camera:
    """What a camera does to a picture, in this order. The defaults do nothing.

    Attributes:
        invert: a negative, white for black.
        gamma: exponent on grey levels in 0..1; below 1 brightens, above 1 darkens.
        contrast: factor on the distance from middle grey.
        blur: standard deviation of a Gaussian blur, pixels.
        rotation: degrees, counter-clockwise as seen.
        crop: side of the central square that fills the picture, as a fraction of the whole side.
        noise: standard deviation of Gaussian pixel noise, grey levels.
    """

    invert: bool = False
    gamma: float = 1.0
    contrast: float = 1.0
    blur: float = 0.0
    rotation: float = 0.0
    crop: float = 1.0
    noise: float = 0.0


CAMERAS: Mapping[str, Camera] = MappingProxyType(
    {
        "clean": Camera(),
        "bright-window": Camera(gamma=0.45),
        "dim-ward": Camera(gamma=2.2),
        "soft-focus": Camera(blur=1.0),
        "smeared-lens": Camera(blur=1.8),
        "grainy-sensor": Camera(noise=20),
        "night-shift": Camera(noise=35, gamma=1.5),
        "tilted-mount": Camera(rotation=15),
        "faded-tilted": Camera(rotation=-20, contrast=0.4),
        "negative": Camera(invert=True),
        "close-up": Camera(crop=0.75),
    }
)


def camera_named(name: str) -> Camera:
    """The camera of this name.

    Raises:
        ConfigError: no camera has it; the message names the nearest one.
    """
    if name in CAMERAS:
        return CAMERAS[name]
    near = difflib.get_close_matches(name, CAMERAS, n=1)
    cure = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(CAMERAS)}"
    raise ConfigError(f"hospitals.cameras: unknown camera {name!r}; {cure}")


def photograph(
    images: NDArray[np.uint8], camera: Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The images as this camera takes them.

    Args:
        images: uint8 grey levels, shape (n, height, width); never written to.
        camera: what to do to them.
        rng: of the pixel noise; untouched by a camera without noise.

    Returns:
        uint8, the same shape; the very same array when the camera does nothing.
    """
    if camera == Camera():
        return images
    taken = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        taken[rows] = _develop(np.asarray(images[rows]), camera, rng)
    return taken


def _develop(
    images: NDArray[np.uint8], camera: Camera, rng: np.random.Generator
) -> NDArray[np.uint8]:
    light = _tones(camera)[images]
    if camera.blur:
        light = gaussian_filter(light, (0.0, camera.blur, camera.blur), mode="nearest")
    if camera.rotation or camera.crop != 1:
        light = _reframe(light, camera)
    if camera.noise:
        light += np.float32(camera.noise) * rng.standard_normal(light.shape, np.float32)
    return np.rint(light).clip(0, 255).astype(np.uint8)


def _tones(camera: Camera) -> NDArray[np.float32]:
    """What becomes of each of the 256 grey levels, shape (256,)."""
    tone = np.linspace(0, 1, 256)
    tone = (1 - tone if camera.invert else tone) ** camera.gamma
    return (255 * (0.5 + (tone - 0.5) * camera.contrast)).astype(np.float32)


def _reframe(light: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Rotate and crop about the centre, bilinear, edge pixels repeated; shape (n, height, width).

    All images share one geometry, so each picture is four gathers with the same weights.
    """
    n, height, width = light.shape
    down, right = np.mgrid[:height, :width].reshape(2, -1)
    down, right = down - (height - 1) / 2, right - (width - 1) / 2
    angle = np.deg2rad(camera.rotation)
    y = camera.crop * (np.cos(angle) * down + np.sin(angle) * right) + (height - 1) / 2
    x = camera.crop * (np.cos(angle) * right - np.sin(angle) * down) + (width - 1) / 2
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top, left = y.astype(np.int64), x.astype(np.int64)
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    dy, dx = (y - top).astype(np.float32), (x - left).astype(np.float32)
    flat = light.reshape(n, -1)
    upper = flat[:, top * width + left] * (1 - dx) + flat[:, top * width + beside] * dx
    lower = flat[:, below * width + left] * (1 - dx) + flat[:, below * width + beside] * dx
    framed: NDArray[np.float32] = upper * (1 - dy) + lower * dy
    return framed.reshape(light.shape)
