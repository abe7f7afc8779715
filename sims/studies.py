"""A study from what the user gave: a file, options of the command line, a Flower configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedward.common.config import (
    NOT_AUGMENTED,
    STARTS_FROM_DRAWINGS,
    TAKES_SMALL_FACES,
    DataConfig,
    PrivacyConfig,
    Study,
    parse_study,
)
from fedward.common.documents import read_document
from fedward.common.errors import ConfigError
from fedward.common.vgg_weights import read_weights, weights_file
from fedward.sims.recipes import recipe


def read_study(path: Path) -> Study:
    """A study of the user's own, from YAML or JSON. Raises ConfigError when it is not one."""
    return read_document(path, Study, name="study", keys="name, training, rounds")


def chosen_study(recipe_name: str | None, config: Path | None) -> Study:
    """The study that options name: a recipe's, or one of the user's own.

    Raises:
        ConfigError: when both are named, none is, or it is no study.
    """
    if recipe_name and config:
        raise ConfigError(f"give the recipe {recipe_name} or --config {config}, not both")
    if config:
        return read_study(config)
    if not recipe_name:
        raise ConfigError(
            "which study? name a recipe (`fedward simulate --list`), or a study with --config"
        )
    return recipe(recipe_name)


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
    if model is not None and model not in STARTS_FROM_DRAWINGS:
        document["training"]["start"] = "random"
    if model in NOT_AUGMENTED:
        document["training"]["augment"] = False
    if seed is not None:
        document["seed"] = seed
    if baselines is not None:
        document["baselines"] = baselines
    if epsilon == 0:
        document["privacy"] = None
    elif epsilon is not None:
        _aim(document, epsilon=epsilon, noise_multiplier=None)
    return check_study(parse_study(document))


def aimed(
    study: Study,
    *,
    rounds: int | None = None,
    epsilon: float | None = None,
    noise_multiplier: float | None = None,
    delta: float | None = None,
) -> Study:
    """A study with another length or privacy target, for which no data need be there; None keeps
    what it says. At most one of epsilon and noise_multiplier is given.

    Raises:
        ConfigError: when a value is not allowed.
    """
    document = study.model_dump()
    if rounds is not None:
        document["rounds"]["count"] = rounds
    if epsilon is not None or noise_multiplier is not None:
        _aim(document, epsilon=epsilon, noise_multiplier=noise_multiplier)
    if delta is not None and document["privacy"] is not None:
        document["privacy"]["delta"] = delta
    return parse_study(document)


def _aim(
    document: dict[str, Any], *, epsilon: float | None, noise_multiplier: float | None
) -> None:
    """Give a study's document one privacy target instead of any other."""
    privacy = document["privacy"] or PrivacyConfig(epsilon=1.0).model_dump()
    target = {"epsilon": epsilon, "noise_multiplier": noise_multiplier}
    document["privacy"] = {**privacy, **target}
    document["training"]["calibrate"] = False  # it needs private label frequencies


def check_study(study: Study) -> Study:
    """Raises ConfigError for what only appears when parts of a study meet."""
    if study.name.startswith("fer-") and study.data.source == DataConfig().source:
        raise ConfigError(
            f"recipe {study.name} needs FER-2013: name it with --data PATH (fer2013.csv, .csv.gz, "
            "a folder with train/ and test/, or a zip of one)"
        )
    return study


def check_weights(study: Study) -> None:
    """Raises ConfigError or ModelError, with the cure, when the study's model needs weights of the
    user's that this machine has not."""
    if study.training.model == "vgg16":
        read_weights(weights_file())


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
