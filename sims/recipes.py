"""Recipes: functions that return a full study. The command line and `flwr run` override values.

How the settings of the FER recipes were chosen is written in docs/recipes.md.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from fedward.common.config import (
    TAKES_SMALL_FACES,
    DataConfig,
    HospitalsConfig,
    PrivacyConfig,
    RoundsConfig,
    Study,
    TrainingConfig,
    parse_study,
)
from fedward.common.errors import ConfigError

FER_HOSPITALS = HospitalsConfig(count=10, alpha=0.5, size_sigma=0.6)


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


def _fer_private(epsilon: float, rounds: int, learning_rate: float) -> Study:
    return Study(
        name=f"fer-private-{epsilon:g}",
        hospitals=FER_HOSPITALS,
        training=TrainingConfig(model="scatter", batch_size=0, learning_rate=learning_rate),
        privacy=PrivacyConfig(
            epsilon=epsilon, delta=1e-5, clipping_norm=0.5, statistics_share=0.03
        ),
        rounds=RoundsConfig(count=rounds, server_momentum=0.9, average_from=0.8),
    )


def fer_private_8() -> Study:
    """Ten unequal hospitals, FER-2013, epsilon 8 at every hospital, scattering features."""
    return _fer_private(8.0, 46, 60.0)


def fer_private_3() -> Study:
    """As fer-private-8, with epsilon 3."""
    return _fer_private(3.0, 20, 80.0)


def fer_private_1() -> Study:
    """As fer-private-8, with epsilon 1."""
    return _fer_private(1.0, 12, 80.0)


RECIPES: Mapping[str, Callable[[], Study]] = {
    "demo": demo,
    "fer-compact": fer_compact,
    "fer-thesis": fer_thesis,
    "fer-lstm": fer_lstm,
    "fer-private-8": fer_private_8,
    "fer-private-3": fer_private_3,
    "fer-private-1": fer_private_1,
}


def recipe(name: str) -> Study:
    """A recipe by name. Raises ConfigError for an unknown one."""
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[name]()


def read_study(path: Path) -> Study:
    """A study of the user's own, from YAML or JSON. Raises ConfigError when it is not one."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML or JSON: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no study: give keys such as name, training, rounds")
    return parse_study(document)


def customised(
    study: Study,
    *,
    data: str | None = None,
    hospitals: int | None = None,
    rounds: int | None = None,
    model: str | None = None,
    epsilon: float | None = None,
    seed: int | None = None,
    test_split: str | None = None,
    baselines: str | None = None,
) -> Study:
    """A study with some values replaced; None keeps what the recipe says, epsilon 0 is no privacy.

    Raises:
        ConfigError: when a value is not allowed.
    """
    document = study.model_dump()
    for part, key, value in (
        ("data", "source", data),
        ("data", "test_split", test_split),
        ("hospitals", "count", hospitals),
        ("rounds", "count", rounds),
        ("training", "model", model),
    ):
        if value is not None:
            document[part][key] = value
    if model is not None and model not in TAKES_SMALL_FACES:
        document["training"]["low_resolution"] = 0.0
    if seed is not None:
        document["seed"] = seed
    if baselines is not None:
        document["baselines"] = baselines
    if epsilon == 0:
        document["privacy"] = None
    elif epsilon is not None:
        privacy = document["privacy"] or PrivacyConfig(epsilon=1.0).model_dump()
        document["privacy"] = {**privacy, "epsilon": epsilon, "noise_multiplier": None}
        document["training"]["calibrate"] = False  # it needs private label frequencies
    return check_study(parse_study(document))


def check_study(study: Study) -> Study:
    """Raises ConfigError for what only appears when parts of a study meet."""
    if study.name.startswith("fer-") and study.data.source == DataConfig().source:
        raise ConfigError(
            f"recipe {study.name} needs FER-2013: name it with --data PATH (fer2013.csv, .csv.gz, "
            "a folder with train/ and test/, or a zip of one)"
        )
    return study


def study_from_run_config(run_config: Mapping[str, bool | float | int | str]) -> Study:
    """The study of `flwr run .`: empty strings, zeros and seed -1 keep what the recipe says.

    Raises:
        ConfigError: when a value is not allowed.
    """
    text = {key: str(run_config.get(key, "")) or None for key in ("data", "model")}
    epsilon = float(run_config.get("epsilon", 0.0))
    seed = int(run_config.get("seed", -1))
    return customised(
        recipe(str(run_config.get("recipe", "demo"))),
        data=text["data"],
        model=text["model"],
        hospitals=int(run_config.get("hospitals", 0)) or None,
        rounds=int(run_config.get("rounds", 0)) or None,
        epsilon=epsilon or None,
        seed=seed if seed >= 0 else None,
    )
