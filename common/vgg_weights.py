"""ImageNet's VGG16 from a local file: where it is, whether it is whole, what to do without one.

Fedward neither ships nor fetches these weights. Light to import: no torch.

Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", configuration D; names of arrays as torchvision's.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from fedward.common.arrays import Arrays, mismatch
from fedward.common.errors import ConfigError, ModelError

VARIABLE = "FEDWARD_VGG16"
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3x3 convolutions, each with a relu; every block ends in a pooling."""

PICKLES = {".pth", ".pt", ".pkl"}
_CONVERT = (
    "import torch; from safetensors.torch import save_file; "
    "w = torch.load('vgg16-397923af.pth', weights_only=True); "
    "save_file({k: w[k].contiguous() for k in w if k.startswith('features.')}, "
    "'vgg16.safetensors')"
)
CONVERSION = f'python -c "{_CONVERT}"'
CURE = (
    "take torchvision's vgg16 IMAGENET1K_V1 (download.pytorch.org/models/vgg16-397923af.pth), "
    f"convert it once, on a machine that you trust with it: {CONVERSION} - then set {VARIABLE} to "
    "the path of vgg16.safetensors"
)


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the arrays; a relu, like a pooling, has a number too."""
    number, seen = 0, 3
    for block in BLOCKS:
        for channels in block:
            yield f"features.{number}.weight", (channels, seen, 3, 3)
            yield f"features.{number}.bias", (channels,)
            number, seen = number + 2, channels
        number += 1


SHAPES = dict(_shapes())


MISSING = f"model vgg16 needs ImageNet's weights, which Fedward does not ship: {CURE}"


def named_file() -> Path | None:
    """What FEDWARD_VGG16 names; None where it names nothing."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else None


def weights_file() -> Path:
    """The file that FEDWARD_VGG16 names.

    Raises:
        ConfigError: it names none.
        ModelError: there is no such file.
    """
    path = named_file()
    if path is None:
        raise ConfigError(MISSING)
    if not path.is_file():
        raise ModelError(f"{VARIABLE} names {path}, where no file is: correct the path, or {CURE}")
    return path


def read_weights(path: Path) -> Arrays:
    """The arrays of VGG16's convolutions, as SHAPES; classifier.* of the file is not read.

    Raises:
        ModelError: it is no safetensors file of them, or holds values that are not finite.
    """
    if path.suffix.lower() in PICKLES:
        raise ModelError(
            f"{path} holds a pickle, and Fedward never unpickles; convert it once, on a machine "
            f"that you trust with it: {CONVERSION}"
        )
    try:
        arrays = _features(path)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ModelError(
            f"{path} is no safetensors file, or a damaged one ({error}); copy it again, or {CURE}"
        ) from None
    found = {name: array.shape for name, array in arrays.items()}
    if problem := mismatch(found, SHAPES):
        raise ModelError(f"{path} does not hold the plain VGG16: {problem}; {CURE}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelError(f"{path}: array {name!r} holds NaN or infinity; copy the file again")
    return arrays


def digest(arrays: Arrays) -> str:
    """SHA-256 of names, shapes and values, in hexadecimal: of the weights, not of the file, which
    may hold a classifier beside them."""
    sha256 = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha256.update(f"{name} {array.shape}\n".encode())
        sha256.update(np.ascontiguousarray(array, "<f4").data)
    return sha256.hexdigest()


def _features(path: Path) -> Arrays:
    """All arrays of the file that are called features.*, which must be float32."""
    with safe_open(path, framework="np") as file:
        names = [name for name in file.keys() if name.startswith("features.")]  # noqa: SIM118
        for name in names:
            if (dtype := file.get_slice(name).get_dtype()) != "F32":
                raise ModelError(f"{path}: array {name!r} is {dtype}, not F32 (float32); {CURE}")
        return {name: file.get_tensor(name) for name in names}
