"""The registry: every model by name, what it reads, and how it answers.

Inputs are float32: standardised pixels (n, 1, 48, 48), or features (n, count). Answers are
probabilities (n, 7) in FER's code order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedward.common.cnn import CompactCnn, ThesisCnn
from fedward.common.errors import ConfigError
from fedward.common.faces import EMOTIONS
from fedward.common.features import FeatureKind
from fedward.common.lstm import CnnLstm, RowLstm, ThesisLstm

STANDARD_DEVIATION_FLOOR = 8.0  # grey levels; a nearly blank image stays nearly blank
PIXEL_LIMIT = 3.0  # standard deviations


@dataclass(frozen=True)
class ModelSpec:
    """What the rest of Fedward knows about a model.

    Attributes:
        summary: one line for people.
        make: the network, untrained.
        features: for a model that reads fixed features, loads their kind; None reads pixels, which
            can be augmented.
        linear: whether it is a linear head on features, whose mean round 1 gathers and which takes
            full-batch steps in all others (common/linear.py).
        any_side: whether it takes smaller faces too (TrainingConfig.low_resolution).
    """

    summary: str
    make: Callable[[], nn.Module]
    features: Callable[[], FeatureKind] | None = None
    linear: bool = False
    any_side: bool = False


def _scattering() -> FeatureKind:
    from fedward.common.scattering import SCATTERING  # lazily: other models need none of it

    return SCATTERING


def _drawn() -> FeatureKind:
    from fedward.common.drawn_features import drawn

    return drawn()


def _vgg16() -> FeatureKind:
    from fedward.common.vgg_features import vgg16

    return vgg16()


def _linear(summary: str, features: Callable[[], FeatureKind]) -> ModelSpec:
    def make() -> nn.Module:
        from fedward.common.linear import LinearHead

        return LinearHead(features())

    return ModelSpec(f"{summary}, linear head", make, features, linear=True)


def _scatter_cnn() -> nn.Module:
    from fedward.common.scatter_cnn import ScatterCnn

    return ScatterCnn()


MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        "thesis-cnn": ModelSpec("the thesis's CNN, 4.5 M parameters", ThesisCnn, any_side=True),
        "compact-cnn": ModelSpec("a CNN of 0.6 M parameters", CompactCnn, any_side=True),
        "thesis-lstm": ModelSpec("the thesis's LSTM, over rows", ThesisLstm),
        "lstm": ModelSpec("an LSTM over rows and columns", RowLstm),
        "cnn-lstm": ModelSpec("convolutions, then an LSTM over rows", CnnLstm),
        "scatter": _linear("scattering and HOG", _scattering),
        "scatter-cnn": ModelSpec("scattering and HOG, a small CNN", _scatter_cnn, _scattering),
        "pretrained": _linear("scattering and a network taught on drawings", _drawn),
        "vgg16": _linear("ImageNet's VGG16, frozen", _vgg16),
    }
)


def spec_of(name: str) -> ModelSpec:
    """The registry's entry of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in MODELS:
        raise ConfigError(f"no model is called {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


def reads_features(name: str) -> bool:
    """Whether a model reads fixed features, not pixels."""
    return spec_of(name).features is not None


def is_linear(name: str) -> bool:
    """Whether a model is a linear head on fixed features, as ModelSpec has it."""
    return spec_of(name).linear


def build(name: str, *, seed: int) -> nn.Module:
    """A new model in float32; the same seed gives the same arrays.

    Convolutions are laid out channels_last, which is faster on CPUs. torch's global random state
    is left as it was.

    Raises:
        ConfigError: no model has this name.
    """
    make = spec_of(name).make
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = make()
    layout: Any = {"memory_format": torch.channels_last}  # which torch's own stubs leave out
    return model.to(**layout)


def network_inputs(name: str, images: NDArray[np.uint8], *, cache: Path | None) -> Tensor:
    """What a model reads of faces, float32.

    Args:
        name: of the model.
        images: grey levels (n, 48, 48).
        cache: folder in which computed features are kept; None computes them every time.

    Returns:
        Pixels (n, 1, 48, 48), standardised per image and cut off at three standard deviations;
        or features (n, count).
    """
    if features := spec_of(name).features:
        from fedward.common.feature_cache import cached_features

        return torch.from_numpy(cached_features(features(), images, cache))
    pixels = torch.from_numpy(images.astype(np.float32)).unsqueeze(1)
    if len(pixels) == 0:
        return pixels
    spread, mean = torch.std_mean(pixels, dim=(1, 2, 3), correction=0, keepdim=True)
    pixels -= mean
    pixels /= spread.clamp_min(STANDARD_DEVIATION_FLOOR)
    return pixels.clamp_(-PIXEL_LIMIT, PIXEL_LIMIT)


def predict(
    name: str, model: nn.Module, inputs: Tensor, *, batch: int = 256
) -> NDArray[np.float32]:
    """Probabilities (n, 7) of ``network_inputs``; of pixels, the mean over face and mirror image.

    The model is left in evaluation mode.
    """
    mirror = not reads_features(name)
    model.eval()
    answers = [torch.empty(0, len(EMOTIONS))]
    with torch.inference_mode():
        for part in torch.split(inputs, batch) if len(inputs) else ():
            answer = model(part).softmax(1)
            if mirror:
                answer = (answer + model(part.flip(3)).softmax(1)) / 2
            answers.append(answer)
    return torch.cat(answers).numpy()
