"""Recipes: functions that return a full study. sims/studies.py overrides single values.

How the settings of the FER recipes were chosen is written in docs/recipes.md.
"""

from collections.abc import Callable, Mapping

from fedward.common.config import (
    HospitalsConfig,
    ModelName,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
)
from fedward.common.errors import ConfigError

FER_HOSPITALS = HospitalsConfig(count=10, alpha=0.5, size_sigma=0.6)
ONE_HOSPITAL = HospitalsConfig(count=1, alpha=None, size_sigma=0.0)


def demo() -> Study:
    """Five hospitals, synthetic faces, three different cameras: all of Fedward in minutes."""
    return Study(
        name="demo",
        seed=1,
        hospitals=HospitalsConfig(
            count=5, alpha=0.5, size_sigma=0.4, cameras=("clean", "soft-focus", "bright-window")
        ),
        training=_compact(epochs=2, learning_rate=1e-3).model_copy(update={"batch_size": 16}),
        rounds=RoundsConfig(count=6, server_momentum=0.5, average_from=0.7),
    )


def _compact(*, epochs: int, learning_rate: float, warmup: float = 0.0) -> TrainingConfig:
    """The compact CNN among unequal hospitals. Small batches, because averaging ten hospitals
    takes one step where pooled training takes ten; calibrated logits against label skew."""
    return TrainingConfig(
        model="compact-cnn",
        epochs=epochs,
        batch_size=32,
        learning_rate=learning_rate,
        schedule="cosine",
        warmup=warmup,
        weight_decay=0.05,
        label_smoothing=0.1,
        calibrate=True,
        augment=True,
    )


def fer_compact() -> Study:
    """Ten unequal hospitals, FER-2013, the compact CNN, no privacy."""
    return Study(
        name="fer-compact",
        hospitals=FER_HOSPITALS,
        training=_compact(epochs=1, learning_rate=1e-3, warmup=0.1),
        rounds=RoundsConfig(count=60, server_momentum=0.8, average_from=0.8),
    )


def fer_thesis() -> Study:
    """Ten unequal hospitals, FER-2013, the network of the thesis, no privacy."""
    return Study(
        name="fer-thesis",
        hospitals=FER_HOSPITALS,
        training=TrainingConfig(
            model="thesis-cnn",
            epochs=1,
            batch_size=64,
            learning_rate=1e-3,
            schedule="cosine",
            label_smoothing=0.1,
            augment=True,
        ),
        rounds=RoundsConfig(count=12, average_from=0.8),
    )


def fer_lstm() -> Study:
    """Ten unequal hospitals, FER-2013, the LSTM that reads an image row by row, no privacy."""
    return Study(
        name="fer-lstm",
        hospitals=FER_HOSPITALS,
        training=TrainingConfig(
            model="lstm",
            epochs=2,
            batch_size=32,
            learning_rate=2e-3,
            schedule="cosine",
            weight_decay=0.01,
            label_smoothing=0.1,
            calibrate=True,
            augment=True,
        ),
        rounds=RoundsConfig(count=16, server_momentum=0.5, average_from=0.7),
    )


def _private(
    name: str, hospitals: HospitalsConfig, epsilon: float, rounds: int, learning_rate: float
) -> Study:
    return Study(
        name=name,
        hospitals=hospitals,
        training=TrainingConfig(model="pretrained", batch_size=0, learning_rate=learning_rate),
        privacy=PrivacyConfig(
            epsilon=epsilon, delta=1e-5, clipping_norm=0.5, statistics_share=0.03
        ),
        rounds=RoundsConfig(count=rounds, server_momentum=0.9, average_from=0.8),
    )


def fer_private_8() -> Study:
    """Ten unequal hospitals, FER-2013, epsilon 8 at every hospital, features taught on drawings."""
    return _private("fer-private-8", FER_HOSPITALS, 8.0, 30, 80.0)


def fer_private_3() -> Study:
    """As fer-private-8, with epsilon 3."""
    return _private("fer-private-3", FER_HOSPITALS, 3.0, 20, 60.0)


def fer_private_1() -> Study:
    """As fer-private-8, with epsilon 1."""
    return _private("fer-private-1", FER_HOSPITALS, 1.0, 12, 60.0)


def _pooled_network(name: str, model: ModelName, rounds: int) -> Study:
    return Study(
        name=name,
        hospitals=ONE_HOSPITAL,
        training=TrainingConfig(
            model=model,
            start="drawings",
            epochs=1,
            batch_size=64,
            learning_rate=1.5e-3,
            schedule="cosine",
            weight_decay=0.05,
            label_smoothing=0.1,
            augment=True,
        ),
        rounds=RoundsConfig(count=rounds, average_from=0.8),
    )


def fer_pooled() -> Study:
    """One hospital with all of FER-2013, the compact CNN from drawings on, no privacy."""
    return _pooled_network("fer-pooled", "compact-cnn", 60)


def fer_pooled_lstm() -> Study:
    """As fer-pooled, with the LSTM over rows and columns."""
    return _pooled_network("fer-pooled-lstm", "lstm", 24)


def fer_pooled_cnn_lstm() -> Study:
    """As fer-pooled, with convolutions and an LSTM over rows."""
    return _pooled_network("fer-pooled-cnn-lstm", "cnn-lstm", 40)


def fer_pooled_vgg16() -> Study:
    """As fer-pooled, a linear head on ImageNet's VGG16, frozen; FEDWARD_VGG16 names its weights."""
    return Study(
        name="fer-pooled-vgg16",
        hospitals=ONE_HOSPITAL,
        training=TrainingConfig(model="vgg16", batch_size=0, learning_rate=20.0),
        # The first round computes the features of all images, on one core.
        rounds=RoundsConfig(count=60, server_momentum=0.9, average_from=0.8, timeout_s=4 * 3600.0),
    )


def fer_pooled_8() -> Study:
    """One hospital with all of FER-2013, epsilon 8, features taught on drawings."""
    return _private("fer-pooled-8", ONE_HOSPITAL, 8.0, 60, 80.0)


def fer_pooled_3() -> Study:
    """As fer-pooled-8, with epsilon 3."""
    return _private("fer-pooled-3", ONE_HOSPITAL, 3.0, 45, 80.0)


def fer_pooled_1() -> Study:
    """As fer-pooled-8, with epsilon 1."""
    return _private("fer-pooled-1", ONE_HOSPITAL, 1.0, 20, 80.0)


def fer_pooled_lstm_8() -> Study:
    """As fer-pooled-lstm, with epsilon 8."""
    return Study(
        name="fer-pooled-lstm-8",
        hospitals=ONE_HOSPITAL,
        training=TrainingConfig(
            model="lstm", start="drawings", epochs=1, batch_size=1024, learning_rate=2e-3
        ),
        privacy=PrivacyConfig(epsilon=8.0, delta=1e-5, clipping_norm=1.0),
        rounds=RoundsConfig(count=12, average_from=0.8),
    )


RECIPES: Mapping[str, Callable[[], Study]] = {
    "demo": demo,
    "fer-compact": fer_compact,
    "fer-thesis": fer_thesis,
    "fer-lstm": fer_lstm,
    "fer-private-8": fer_private_8,
    "fer-private-3": fer_private_3,
    "fer-private-1": fer_private_1,
    "fer-pooled": fer_pooled,
    "fer-pooled-lstm": fer_pooled_lstm,
    "fer-pooled-cnn-lstm": fer_pooled_cnn_lstm,
    "fer-pooled-vgg16": fer_pooled_vgg16,
    "fer-pooled-8": fer_pooled_8,
    "fer-pooled-3": fer_pooled_3,
    "fer-pooled-1": fer_pooled_1,
    "fer-pooled-lstm-8": fer_pooled_lstm_8,
}


def recipe(name: str) -> Study:
    """A recipe by name. Raises ConfigError for an unknown one."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()
