"""A model as named arrays: what travels, what is averaged and what is kept on disk.

The names and shapes are the plain model's, also for a private twin, and no array occurs twice
(Opacus's DPLSTM lists each of its tensors under two names in ``state_dict``).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedward.common.errors import ModelError, UpdateError
from fedward.common.files import writing

if TYPE_CHECKING:  # torch takes seconds to import, and who looks into a run directory needs none
    from torch import Tensor, nn

Arrays = dict[str, NDArray[np.float32]]


def to_arrays(model: "nn.Module") -> Arrays:
    """Copies of all parameters and buffers, float32, C-contiguous, sorted by name."""
    return {
        name: tensor.detach().float().contiguous().numpy().copy()
        for name, tensor in sorted(_tensors(model).items())
    }


def load_arrays(model: "nn.Module", arrays: Arrays) -> None:
    """Copy arrays into a model, in place.

    Raises:
        ModelError: the arrays are not this model's; the model is then unchanged.
    """
    import torch  # see above

    tensors = _tensors(model)
    if problem := mismatch(
        {name: array.shape for name, array in arrays.items()},
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
    ):
        raise ModelError(f"arrays do not fit {type(model).__name__}: {problem}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.tensor(arrays[name]))


def check_like(arrays: Arrays, reference: Arrays) -> None:
    """Refuse arrays that must not enter arithmetic beside ``reference``.

    Raises:
        UpdateError: naming the first array that is missing, unknown, or of a wrong shape or dtype,
            or that holds NaN or infinity.
    """
    if problem := mismatch(
        {name: array.shape for name, array in arrays.items()},
        {name: array.shape for name, array in reference.items()},
    ):
        raise UpdateError(problem)
    for name, array in arrays.items():
        if array.dtype != reference[name].dtype:
            raise UpdateError(f"array {name!r} is {array.dtype}, not {reference[name].dtype}")
        if not np.isfinite(array).all():
            raise UpdateError(f"array {name!r} holds NaN or infinity")


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        RunError: it cannot be written; ``path`` is as it was.
    """
    with writing(path) as temporary:
        temporary.write_bytes(
            save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        )


def read_arrays(path: Path) -> Arrays:
    """The arrays of a safetensors file, sorted by name.

    Raises:
        ModelError: there is no such file, or it is not a whole safetensors file of float32.
    """
    try:
        arrays = load(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from None
    except SafetensorError as error:
        raise ModelError(
            f"{path} is no safetensors file, or a damaged one ({error}); copy it again"
        ) from None
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ModelError(f"{path}: array {name!r} is {array.dtype}, not float32")
    return dict(sorted(arrays.items()))


def _tensors(model: "nn.Module") -> "dict[str, Tensor]":
    """Parameters and buffers by name; a tensor with two names goes by its outermost."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def mismatch(
    shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> str | None:
    """What is wrong with the names or shapes, in words; None if nothing is."""
    unknown = sorted(shapes.keys() - expected.keys())
    if missing := sorted(expected.keys() - shapes.keys()):
        instead = f", and {unknown[0]!r} is there instead" if unknown else ""
        return f"array {missing[0]!r} is missing ({len(missing)} in all){instead}"
    if unknown:
        return f"array {unknown[0]!r} is unknown ({len(unknown)} in all)"
    for name, shape in shapes.items():
        if shape != expected[name]:
            return f"array {name!r} has shape {shape}, not {expected[name]}"
    return None
